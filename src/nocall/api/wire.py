"""The bodies that travel, as msgspec structs: field names, their order and their types are the
contract. A request's struct says what is required and of which type. Limits are the verbs': what is
said of them here (`_shown`) goes into the OpenAPI document and refuses nothing.
"""

# Wire names are camelCase and some replies name the same field as the model does.
# ruff: noqa: N815 - these are the names of the wire

from typing import Annotated, Any, Self

from msgspec import UNSET, Meta, Struct, UnsetType, field

from nocall.gate import RULE_SET
from nocall.model import Answer, DncRecord, Reason, Scope, Source, Verdict, instant_text


def _shown(description: str | None = None, /, **schema: Any) -> Meta:
    """What the OpenAPI document says of a field, with JSON Schema's own words."""
    return Meta(description=description, extra_json_schema=schema)


PhoneNumber = Annotated[
    str,
    _shown(
        "With country code; a leading + and punctuation are understood.",
        minLength=1,
        maxLength=100,
        examples=["12125550123"],
    ),
]
Digits = Annotated[str, _shown("Country code and number, without a +.", pattern="^[0-9]{1,15}$")]
Id = Annotated[str, _shown(pattern="^[0-9a-f]{24}$")]
_UUID_FORM = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
RequestUuid = Annotated[str, _shown(pattern=_UUID_FORM)]
Instant = Annotated[str, _shown(format="date-time")]
Why = Annotated[str, _shown("At most 500 bytes.", maxLength=500)]
ScopeName = Annotated[str, _shown(enum=[scope.value for scope in Scope])]
Enforcement = Annotated[
    str, _shown("Whether the organization's own list is consulted.", enum=["on", "off"])
]
Clock = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}


class Done(Struct):
    """The envelope of a success without data."""

    message: str
    status: bool
    code: int
    errorMessage: str

    @classmethod
    def ok(cls, message: str, *data: Any, code: int = 200) -> Self:
        """A success, with the data that the class has room for."""
        return cls(message, True, code, "", *data)


class Problem(Struct):
    """The envelope of every failure. `errorCode` is stable, `errorMessage` is for people."""

    message: str
    status: bool
    code: int
    errorMessage: str
    errorCode: str
    data: dict[str, Any] | UnsetType = UNSET


class AddBody(Struct):
    """A number to list: from a call (`batchId` and `requestUUID`), or with a `source`."""

    phoneNumber: PhoneNumber
    batchId: Id | None = None
    requestUUID: RequestUuid | None = None
    type: Annotated[str, _shown("At most 64 bytes.", maxLength=64)] | None = None
    source: (
        Annotated[str, _shown("Not from a call.", enum=["manual", "web", "import", "api"])] | None
    ) = None
    reason: Why | None = None
    requestedAt: (
        Annotated[str, _shown("When the person asked, with its offset.", format="date-time")] | None
    ) = None


class Added(Struct):
    id: Id = field(name="_id")


class AddReply(Done):
    data: Added


class Record(Struct):
    """A DNC record; from `source` on the fields are our additions."""

    id: Id = field(name="_id")
    phoneNumber: Digits
    type: str | None
    orgId: Id
    batchId: Id | None
    requestUUID: RequestUuid | None
    callRecording: str | None
    transcription: str | None
    createdAt: Instant
    source: Annotated[str, _shown(enum=[source.value for source in Source])]
    addedBy: str
    reason: str | None
    requestedAt: Instant | None

    @classmethod
    def of(cls, record: DncRecord) -> "Record":
        return cls(
            id=record.id,
            phoneNumber=str(record.number),
            type=record.type,
            orgId=record.org_id,
            batchId=record.batch_id,
            requestUUID=record.request_uuid,
            callRecording=record.call_recording,
            transcription=record.transcription,
            createdAt=instant_text(record.created_at),
            source=record.source.value,
            addedBy=record.added_by,
            reason=record.reason,
            requestedAt=instant_text(record.requested_at) if record.requested_at else None,
        )


class RecordReply(Done):
    data: Record


class Pagination(Struct):
    total: int | UnsetType
    page: int | UnsetType
    limit: int
    totalPages: int | UnsetType
    nextCursor: str | None


class ListData(Struct):
    dncList: list[Record]
    pagination: Pagination


class ListReply(Done):
    data: ListData


class SwitchBody(Struct):
    enable: Annotated[bool, _shown("Whether the gate consults the list.")]


class Settings(Struct):
    enable: bool
    orgId: Id
    region: str


class SettingsReply(Done):
    data: Settings


class CheckReason(Struct, gc=False):
    code: str
    message: str
    recordId: Id | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET
    since: Instant | UnsetType = UNSET


_NO_REASONS: list[CheckReason] = []
"""One for all that have none; a thousand lists a request are what the collector would look at."""


class CheckResult(Struct, gc=False):
    """A verdict. `input` is what was asked, where that is not the number's own digits."""

    phoneNumber: str
    verdict: Answer
    reasons: list[CheckReason]
    valid: bool
    enforcement: Enforcement
    input: str | UnsetType = UNSET

    @classmethod
    def of(cls, verdict: Verdict) -> "CheckResult":
        text = verdict.text
        number = text if verdict.number is None else str(verdict.number)
        return cls(
            number,
            verdict.answer,
            [_check_reason(reason) for reason in verdict.reasons]
            if verdict.reasons
            else _NO_REASONS,
            verdict.valid,
            "on" if verdict.enforcement else "off",
            UNSET if text == number else text,
        )


def _check_reason(reason: Reason) -> CheckReason:
    if reason.record_id is None:
        return CheckReason(reason.code, reason.message)
    since = UNSET if reason.since is None else instant_text(reason.since)
    return CheckReason(reason.code, reason.message, reason.record_id, reason.type, since)


class CheckOne(CheckResult):
    """A verdict with the ledger's seq and the instant it was taken at."""

    seq: int = 0
    checkedAt: Instant = ""
    ruleSet: str = ""

    @classmethod
    def of(cls, verdict: Verdict) -> "CheckOne":
        one = super().of(verdict)
        assert isinstance(one, CheckOne)  # noqa: S101 - tells the type checker what cls is
        one.seq = verdict.seq
        one.checkedAt = instant_text(verdict.at)
        one.ruleSet = RULE_SET
        return one


class CheckReply(Done):
    data: CheckOne


class CheckManyBody(Struct):
    phoneNumbers: Annotated[list[str], _shown("1 to 10,000 numbers.", minItems=1, maxItems=10_000)]


class CheckManyData(Struct):
    results: list[CheckResult]
    enforcement: Enforcement
    seq: int
    checkedAt: Instant
    ruleSet: str


class CheckManyReply(Done):
    data: CheckManyData


class BatchBody(Struct):
    batchName: Annotated[str, _shown("At most 200 bytes.", minLength=1, maxLength=200)]
    callingNumbers: Annotated[
        list[Annotated[str, _shown("At most 64 bytes.", maxLength=64)]], _shown(minItems=1)
    ]
    retry: Annotated[int, _shown("Attempts for a failed call.", minimum=0, maximum=100)] | None = (
        None
    )
    delay: (
        Annotated[int, _shown("Seconds between attempts.", minimum=0, maximum=2_592_000)] | None
    ) = None
    timezone: Annotated[str, _shown("An IANA zone name.", maxLength=100)] | None = None
    callingHour: (
        Annotated[
            dict[str, str],
            _shown(
                "Two different times; over midnight where the end is the earlier one.",
                required=["start", "end"],
                properties={"start": Clock, "end": Clock},
            ),
        ]
        | None
    ) = None
    allowedDays: (
        Annotated[
            list[Annotated[int, _shown(minimum=0, maximum=6)]], _shown("0 is Sunday.", minItems=1)
        ]
        | None
    ) = None


class BatchReply(Done):
    data: Id


Row = Annotated[
    dict[str, Any],
    _shown(
        "Other members than the number are kept as the call's custom fields.",
        required=["phoneNumber"],
        properties={"phoneNumber": {"type": "string", "minLength": 1, "maxLength": 100}},
    ),
]
Rows = Annotated[list[Row], _shown(minItems=1)]


class CallsBody(Struct):
    """The calls under either spelling; where both stand, `call_data` counts."""

    batchId: Id
    call_data: Rows | UnsetType = UNSET
    callData: Rows | UnsetType = UNSET


class FailedChunk(Struct):
    chunkNum: int
    error: str


class CallsData(Struct):
    added: int
    callIds: list[Id]
    failedChunks: list[FailedChunk] | UnsetType = UNSET


class CallsReply(Done):
    data: CallsData


class PhoneLog(Struct):
    requestUUID: RequestUuid
    callStatus: str
    callDuration: int | None
    recordingUrl: str | None
    transcript: str | None
    createdAt: Instant


class CallView(Struct):
    """A call; its custom fields stand beside these."""

    id: Id = field(name="_id")
    phoneNumber: Digits
    callStatus: str
    phoneLogs: list[PhoneLog]
    createdAt: Instant


class BatchDetails(Struct):
    batchId: Id
    batchName: str
    batchStatus: str
    page: int
    limit: int
    total: int
    totalPages: int
    data: list[Annotated[dict[str, Any], _shown(**{"$ref": "#/components/schemas/CallView"})]]


class BatchDetailsReply(Done):
    data: BatchDetails


class ReportBody(Struct):
    batchId: Id
    phoneNumber: PhoneNumber
    callStatus: Annotated[str, _shown("At most 40 bytes.", minLength=1, maxLength=40)]
    callDuration: Annotated[int, _shown("Seconds.", minimum=0, maximum=86_400)] | None = None
    recordingUrl: Annotated[str, _shown("At most 2,000 bytes.", maxLength=2_000)] | None = None
    transcript: Annotated[str, _shown("At most 1 MiB.", maxLength=1_048_576)] | None = None
    requestUUID: (
        Annotated[str, _shown("The dialer's own; else one is made.", pattern=_UUID_FORM)] | None
    ) = None


class Reported(Struct):
    requestUUID: RequestUuid


class ReportReply(Done):
    data: Reported


Email = Annotated[
    str,
    _shown(
        "One address, at most 254 bytes.",
        maxLength=254,
        pattern=r"""^[^@\s,;<>"]+@[^@\s,;<>"]+$""",
    ),
]
Region = Annotated[
    str, _shown("The home region, a two-letter country code.", pattern="^[A-Za-z]{2}$")
]


class OrgBody(Struct):
    name: Annotated[str, _shown("At most 200 bytes.", minLength=1, maxLength=200)]
    adminEmail: Email
    region: Region = "US"


class OrgChangeBody(Struct):
    adminEmail: Email | None = None
    region: Region | None = None


class Org(Struct):
    id: Id = field(name="_id")
    name: str
    adminEmail: str
    region: str
    createdAt: Instant


class OrgReply(Done):
    data: Org


class OrgsData(Struct):
    organizations: list[Org]


class OrgsReply(Done):
    data: OrgsData


class Purged(Struct):
    id: Id = field(name="_id")
    ledger: str


class PurgedReply(Done):
    data: Purged


class TokenBody(Struct):
    scopes: Annotated[list[ScopeName], _shown(minItems=1)]
    name: Annotated[str, _shown("At most 100 bytes.", maxLength=100)] = ""
    expiresAt: (
        Annotated[str, _shown("In the future, with its offset.", format="date-time")] | None
    ) = None


class TokenView(Struct):
    id: Id = field(name="_id")
    name: str
    scopes: list[ScopeName]
    createdAt: Instant
    createdBy: str
    expiresAt: Instant | None
    revokedAt: Instant | None
    token: Annotated[str, _shown("Shown once.")] | UnsetType = UNSET


class TokenReply(Done):
    data: TokenView


class TokensData(Struct):
    tokens: list[TokenView]


class TokensReply(Done):
    data: TokensData


class HealthReply(Done):
    data: dict[str, Any]
