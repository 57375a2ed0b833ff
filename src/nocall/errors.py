"""The error tree. Each class has a stable `code`; shells map classes to statuses and exit codes."""

from collections.abc import Mapping


class NocallError(Exception):
    """Anything nocall refuses or fails to do.

    `message` is the short sentence for the class, `str(error)` says what exactly went wrong, and
    `data` is what a client may act on.
    """

    code = "error"
    message = "The request failed"

    def __init__(self, detail: str = "", data: Mapping[str, object] | None = None) -> None:
        super().__init__(detail or self.message)
        self.data = data


class NotAuthenticated(NocallError):
    code = "not_authenticated"
    message = "Authentication required"


class NotAllowed(NocallError):
    code = "not_allowed"
    message = "Not allowed"


class ScopeMissing(NotAllowed):
    code = "scope_missing"
    message = "The token lacks the scope for this"


class RecordForeign(NotAllowed):
    code = "record_foreign"
    message = "The DNC record belongs to another organization"


class Invalid(NocallError):
    """Input that no retry will make right."""

    code = "invalid"
    message = "The request is not valid"


class BodyMalformed(Invalid):
    code = "body_malformed"
    message = "The body could not be read"


class FieldInvalid(Invalid):
    """A field, parameter or header is missing or has a value outside its limits."""

    code = "field_invalid"
    message = "A field is not valid"

    def __init__(self, field: str, why: str, value: object = None) -> None:
        shown = "" if value is None else f", got {show(value)}"
        super().__init__(f"{field}: {why}{shown}", {"field": field})
        self.field = field


class FieldMissing(FieldInvalid):
    code = "field_missing"
    message = "A required field is missing"

    def __init__(self, field: str) -> None:
        super().__init__(field, "is required")


class NumberInvalid(FieldInvalid):
    code = "number_invalid"
    message = "The phone number could not be read"


class NumberAmbiguous(FieldInvalid):
    """Bare digits that are valid both internationally and in the home region, and differ."""

    code = "number_ambiguous"
    message = "The phone number has two readings"


class NumberListed(Invalid):
    code = "number_listed"
    message = "Phone number already on the DNC list"


class IdempotencyMismatch(NocallError):
    code = "idempotency_mismatch"
    message = "The Idempotency-Key was used with another body"


class NotFound(NocallError):
    code = "not_found"
    message = "Not found"


class RouteNotFound(NotFound):
    code = "route_not_found"
    message = "No such route"


class MethodNotAllowed(NocallError):
    code = "method_not_allowed"
    message = "Method not allowed"


class RecordNotFound(NotFound):
    code = "record_not_found"
    message = "DNC record not found"


class BatchNotFound(NotFound):
    code = "batch_not_found"
    message = "Batch not found"


class CallNotFound(NotFound):
    code = "call_not_found"
    message = "Call not found in the batch"


class OrganizationNotFound(NotFound):
    code = "organization_not_found"
    message = "Organization not found"


class TokenNotFound(NotFound):
    code = "token_not_found"
    message = "Token not found"


class Conflict(NocallError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    message = "Not possible in this state"


class BodyTooLarge(NocallError):
    code = "body_too_large"
    message = "The body is too large"


class RateExceeded(NocallError):
    code = "rate_exceeded"
    message = "Too many requests"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail, {"retryAfterSeconds": retry_after_seconds})
        self.retry_after_seconds = retry_after_seconds


class Unavailable(NocallError):
    """A part nocall depends on does not answer; nothing was decided, so nothing is callable."""

    code = "unavailable"
    message = "The service is unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    message = "The database is unavailable"


class StartRefused(NocallError):
    """The service or command will not start like this; the sentence says what to change."""

    code = "start_refused"
    message = "nocall cannot start"


class ConfigInvalid(StartRefused):
    code = "config_invalid"
    message = "The configuration is not valid"


class DatabaseRefused(StartRefused):
    """The database, its login or its version is not one nocall will work on."""

    code = "database_refused"
    message = "The database is not fit for use"


class LedgerBroken(NocallError):
    """The ledger does not verify; `seq` is the first entry that is wrong."""

    code = "ledger_broken"
    message = "The ledger does not verify"

    def __init__(self, detail: str, seq: int) -> None:
        super().__init__(detail, {"seq": seq})
        self.seq = seq


def show(value: object, limit: int = 60) -> str:
    """`value` for an error text: quoted, on one line, cut at `limit` characters."""
    text = ascii(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
