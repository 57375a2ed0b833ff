"""Values every layer speaks in. Nothing here touches the network, the disk or the clock's zone."""

import itertools
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

from nocall.errors import FieldInvalid

_ID = re.compile(r"[0-9a-f]{24}\Z")
_process_part = secrets.token_bytes(5)
_counter = itertools.count(secrets.randbelow(1 << 24))


def new_id() -> str:
    """A fresh id in the ObjectId form: 24 lower-case hex digits, the first 8 the Unix second."""
    if os.getpid() != _owner_pid[0]:
        _reseed()
    second = int(time.time()).to_bytes(4, "big")
    count = (next(_counter) & 0xFFFFFF).to_bytes(3, "big")
    return (second + _process_part + count).hex()


_owner_pid = [os.getpid()]


def _reseed() -> None:
    """A forked child must not hand out its parent's ids."""
    global _process_part  # noqa: PLW0603 - one value per process, as the ObjectId form has it
    _process_part = secrets.token_bytes(5)
    _owner_pid[0] = os.getpid()


def is_id(text: str) -> bool:
    return _ID.match(text) is not None


class Scope(StrEnum):
    DNC_READ = "dnc:read"
    DNC_WRITE = "dnc:write"
    DNC_DELETE = "dnc:delete"
    CALL_WRITE = "call:write"
    ADMIN = "admin"


class Source(StrEnum):
    """Where a DNC record came from; `call` is an add that names the call it came from."""

    CALL = "call"
    MANUAL = "manual"
    WEB = "web"
    IMPORT = "import"
    API = "api"


class Kind(StrEnum):
    """The closed list of ledger kinds; docs/ledger.md describes each."""

    ORG_CREATED = "org_created"
    ORG_CHANGED = "org_changed"
    TOKEN_CREATED = "token_created"  # noqa: S105 - a kind, not a secret
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a kind, not a secret
    ADD = "add"
    ADD_REPEATED = "add_repeated"
    DELETE = "delete"
    EVIDENCE_ATTACHED = "evidence_attached"
    EVIDENCE_PURGED = "evidence_purged"
    SWITCHED_ON = "switched_on"
    SWITCHED_OFF = "switched_off"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, always within an organization; an operator acts on the one it names."""

    kind: str
    """`token`, `system` or `operator`."""
    id: str
    name: str
    org_id: str
    scopes: frozenset[Scope] = frozenset()
    region: str = "US"
    """The organization's home region, for reading bare digits."""


@dataclass(frozen=True, slots=True)
class Organization:
    id: str
    name: str
    admin_email: str
    region: str
    created_at: datetime
    purged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    org_id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class DncRecord:
    id: str
    org_id: str
    number: int
    type: str | None
    batch_id: str | None
    request_uuid: str | None
    call_recording: str | None
    transcription: str | None
    created_at: datetime
    source: Source
    added_by: str
    reason: str | None
    requested_at: datetime | None
    seq: int
    """The ledger entry that added it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of an organization's ledger; seq 0 and 32 zero bytes before the first."""

    seq: int
    hash: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """What one entry did to one number. Evidence is the SHA-256 of the bytes, or None."""

    number: int
    record_id: str
    type: str | None = None
    reason: str | None = None
    batch_id: str | None = None
    request_uuid: str | None = None
    recording_sha256: bytes | None = None
    transcript_sha256: bytes | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    org_id: str
    seq: int
    at: datetime
    kind: str
    actor_kind: str
    actor_id: str
    actor_name: str
    source: str | None
    reason: str | None
    detail: str
    """Canonical JSON of what the kind alone needs, stored as the text that was hashed."""
    item_count: int
    items_digest: bytes
    previous_hash: bytes
    hash: bytes
    items: tuple[Item, ...] = ()


class Answer(StrEnum):
    CALLABLE = "callable"
    BLOCKED = "blocked"
    INVALID = "invalid"


class Reason(Struct, frozen=True, gc=False):
    """Why a verdict is not plainly callable. `code` is stable, `message` is for people."""

    code: str
    message: str
    record_id: str | None = None
    type: str | None = None
    since: datetime | None = None


class Verdict(Struct, frozen=True, gc=False):
    number: int | None
    """The reading that decided; None where the text could not be read."""
    text: str
    answer: Answer
    reasons: tuple[Reason, ...]
    valid: bool
    """Whether the numbering plan knows the number; a possible number may still be unassigned."""
    enforcement: bool
    seq: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    id: str
    org_id: str
    name: str
    calling_numbers: tuple[str, ...]
    retry_count: int
    delay_seconds: int
    timezone: str | None
    calling_hour: Mapping[str, str] | None
    allowed_days: tuple[int, ...] | None
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    request_uuid: str
    status: str
    duration_seconds: int | None
    recording_url: str | None
    transcript: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    number: int
    fields: Mapping[str, object]
    status: str
    created_at: datetime
    attempts: tuple[Attempt, ...] = field(default=())


@lru_cache(maxsize=4_096)
def instant_text(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, the wire's form.

    Cached because the checks that one statement answers all carry its instant.
    """
    # isoformat costs a fifth of what strftime does, and pads early years.
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


_INSTANT = re.compile(r"[0-9W-]+(?:[Tt ][0-9:.,]+(?:[Zz]|[+-][0-9:.]+)?)?\Z")


def parse_instant(field_name: str, text: str) -> datetime:
    """An instant with its offset.

    Raises `FieldInvalid` naming `field_name`, also where the offset is missing: an instant whose
    zone must be guessed proves nothing.
    """
    try:
        # Python takes any character at all between date and time, a NUL too.
        at = datetime.fromisoformat(text) if _INSTANT.match(text) else None
    except ValueError:
        at = None
    if at is None:
        raise FieldInvalid(field_name, "must be an instant such as 2026-11-24T09:30:00.000Z", text)
    if at.tzinfo is None:
        raise FieldInvalid(field_name, "needs a zone: end it with Z or an offset", text)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise FieldInvalid(field_name, "is outside the calendar", text) from None


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROLS_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_text(field_name: str, text: str, limit: int, *, lines: bool = False) -> str:
    """`text` as given, if it has at most `limit` UTF-8 bytes and no control characters.

    With `lines`, tab, line feed and carriage return are allowed. Raises `FieldInvalid`.
    """
    controls = _CONTROLS_BUT_LINES if lines else _CONTROLS
    found = controls.search(text)
    if found:
        raise FieldInvalid(
            field_name,
            f"has a control character or half a surrogate pair at position {found.start()}",
            found.group(),
        )
    size = len(text.encode())
    if size > limit:
        raise FieldInvalid(field_name, f"has {size} bytes, the limit is {limit}")
    return text


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    known = {scope.value: scope for scope in Scope}
    scopes = []
    for name in names:
        if name not in known:
            raise FieldInvalid("scopes", f"must be among {', '.join(known)}", name)
        scopes.append(known[name])
    if not scopes:
        raise FieldInvalid("scopes", "needs at least one scope")
    return tuple(sorted(set(scopes)))
