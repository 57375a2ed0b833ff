"""The bodies that travel, as msgspec structs: field names, their order and their types are the
contract. A request's struct says what is required and of which type; limits are the verbs'.
"""

# Wire names are camelCase and some replies name the same field as the model does.
# ruff: noqa: N815 - these are the names of the wire

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from nocall.gate import RULE_SET
from nocall.model import Answer, DncRecord, Reason, Verdict, instant_text

PhoneNumber = Annotated[
    str,
    Meta(
        description="With country code; a leading + and punctuation are understood.",
        examples=["12125550123"],
    ),
]


class Done(Struct):
    """The envelope of a success without data."""

    message: str
    status: bool
    code: int
    errorMessage: str


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
    batchId: str | None = None
    requestUUID: str | None = None
    type: Annotated[str, Meta(description="At most 64 bytes.")] | None = None
    source: (
        Annotated[str, Meta(description="`manual`, `web`, `import` or `api`: not from a call.")]
        | None
    ) = None
    reason: Annotated[str, Meta(description="At most 500 bytes.")] | None = None
    requestedAt: (
        Annotated[str, Meta(description="When the person asked, with its offset.")] | None
    ) = None


class Added(Struct):
    id: str = field(name="_id")


class AddReply(Done):
    data: Added


class Record(Struct):
    """A DNC record; from `source` on the fields are our additions."""

    id: str = field(name="_id")
    phoneNumber: str
    type: str | None
    orgId: str
    batchId: str | None
    requestUUID: str | None
    callRecording: str | None
    transcription: str | None
    createdAt: str
    source: str
    addedBy: str
    reason: str | None
    requestedAt: str | None

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
    enable: Annotated[bool, Meta(description="Whether the gate consults the list.")]


class Settings(Struct):
    enable: bool
    orgId: str
    region: str


class SettingsReply(Done):
    data: Settings


class CheckReason(Struct):
    code: str
    message: str
    recordId: str | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET
    since: str | UnsetType = UNSET


class CheckResult(Struct):
    """A verdict. `input` is what was asked, where that is not the number's own digits."""

    phoneNumber: str
    verdict: Answer
    reasons: list[CheckReason]
    valid: bool
    enforcement: str
    input: str | UnsetType = UNSET

    @classmethod
    def of(cls, verdict: Verdict) -> "CheckResult":
        text = verdict.text
        number = text if verdict.number is None else str(verdict.number)
        return cls(
            number,
            verdict.answer,
            [_check_reason(reason) for reason in verdict.reasons] if verdict.reasons else [],
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
    checkedAt: str = ""
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
    phoneNumbers: Annotated[
        list[str], Meta(description="1 to 10,000 numbers.", examples=[["12125550123"]])
    ]


class CheckManyData(Struct):
    results: list[CheckResult]
    enforcement: str
    seq: int
    checkedAt: str
    ruleSet: str


class CheckManyReply(Done):
    data: CheckManyData


class BatchBody(Struct):
    batchName: str
    callingNumbers: list[str]
    retry: int | None = None
    delay: Annotated[int, Meta(description="Seconds between attempts.")] | None = None
    timezone: str | None = None
    callingHour: dict[str, str] | None = None
    allowedDays: Annotated[list[int], Meta(description="0 is Sunday.")] | None = None


class BatchReply(Done):
    data: str


class CallsBody(Struct):
    batchId: str
    call_data: list[dict[str, Any]] | UnsetType = UNSET
    callData: list[dict[str, Any]] | UnsetType = UNSET


class FailedChunk(Struct):
    chunkNum: int
    error: str


class CallsData(Struct):
    added: int
    callIds: list[str]
    failedChunks: list[FailedChunk] | UnsetType = UNSET


class CallsReply(Done):
    data: CallsData


class PhoneLog(Struct):
    requestUUID: str
    callStatus: str
    callDuration: int | None
    recordingUrl: str | None
    transcript: str | None
    createdAt: str


class BatchDetails(Struct):
    batchId: str
    batchName: str
    batchStatus: str
    page: int
    limit: int
    total: int
    totalPages: int
    data: list[dict[str, Any]]


class BatchDetailsReply(Done):
    data: BatchDetails


class ReportBody(Struct):
    batchId: str
    phoneNumber: PhoneNumber
    callStatus: str
    callDuration: Annotated[int, Meta(description="Seconds.")] | None = None
    recordingUrl: str | None = None
    transcript: Annotated[str, Meta(description="At most 1 MiB.")] | None = None
    requestUUID: Annotated[str, Meta(description="The dialer's own; else one is made.")] | None = (
        None
    )


class Reported(Struct):
    requestUUID: str


class ReportReply(Done):
    data: Reported


class OrgBody(Struct):
    name: str
    adminEmail: str
    region: str = "US"


class OrgChangeBody(Struct):
    adminEmail: str | None = None
    region: str | None = None


class Org(Struct):
    id: str = field(name="_id")
    name: str
    adminEmail: str
    region: str
    createdAt: str


class OrgReply(Done):
    data: Org


class OrgsData(Struct):
    organizations: list[Org]


class OrgsReply(Done):
    data: OrgsData


class Purged(Struct):
    id: str = field(name="_id")
    ledger: str


class PurgedReply(Done):
    data: Purged


class TokenBody(Struct):
    scopes: list[str]
    name: str = ""
    expiresAt: str | None = None


class TokenView(Struct):
    id: str = field(name="_id")
    name: str
    scopes: list[str]
    createdAt: str
    createdBy: str
    expiresAt: str | None
    revokedAt: str | None
    token: Annotated[str, Meta(description="Shown once.")] | UnsetType = UNSET


class TokenReply(Done):
    data: TokenView


class TokensData(Struct):
    tokens: list[TokenView]


class TokensReply(Done):
    data: TokensData


class HealthReply(Done):
    data: dict[str, Any]
