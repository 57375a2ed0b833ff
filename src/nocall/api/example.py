"""An example of every body and every reply, for the OpenAPI document."""

from typing import Any

from nocall.api import wire

_BATCH = "6924a1b2c3d4e5f601234567"
_RECORD = "6924a1b2c3d4e5f601234568"
_ORG = "6924a1b2c3d4e5f60123456a"
_CALL = "6924a1b2c3d4e5f60123456b"
_ATTEMPT = "5f0c9d1e-2b7a-4c3d-9e8f-0a1b2c3d4e5f"
_AT = "2026-11-24T09:30:00.000Z"


def success(message: str, data: Any = None, code: int = 200) -> dict[str, Any]:
    """The envelope of a success; without `data` where there is none."""
    envelope = {"message": message, "status": True, "code": code, "errorMessage": ""}
    return envelope if data is None else {**envelope, "data": data}


_RECORD_VIEW = {
    "_id": _RECORD,
    "phoneNumber": "12125550123",
    "type": "customer_request",
    "orgId": _ORG,
    "batchId": _BATCH,
    "requestUUID": _ATTEMPT,
    "callRecording": "https://recordings.example/1.mp3",
    "transcription": "Please stop calling me.",
    "createdAt": _AT,
    "source": "call",
    "addedBy": "dialer",
    "reason": None,
    "requestedAt": None,
}
_LISTED = {
    "code": "listed",
    "message": "+12125550123 is on the organization's Do-Not-Call list.",
    "recordId": _RECORD,
    "type": "customer_request",
    "since": _AT,
}
_BLOCKED = {
    "phoneNumber": "12125550123",
    "verdict": "blocked",
    "reasons": [_LISTED],
    "valid": True,
    "enforcement": "on",
}
_CALLABLE = {
    "phoneNumber": "442079460123",
    "verdict": "callable",
    "reasons": [],
    "valid": True,
    "enforcement": "on",
    "input": "+44 20 7946 0123",
}
_TAKEN = {"seq": 7, "checkedAt": _AT, "ruleSet": "2026-11-24"}
_ORG_VIEW = {
    "_id": _ORG,
    "name": "Example Ltd",
    "adminEmail": "admin@example.com",
    "region": "US",
    "createdAt": _AT,
}
_TOKEN_VIEW = {
    "_id": "6924a1b2c3d4e5f60123456c",
    "name": "dialer",
    "scopes": ["dnc:read"],
    "createdAt": _AT,
    "createdBy": "admin",
    "expiresAt": None,
    "revokedAt": None,
}

ORG_CREATED = success("Organization created successfully", _ORG_VIEW, 201)
TOKEN_CREATED = success(
    "Token created successfully",
    {**_TOKEN_VIEW, "token": f"nocall_{_ORG}_AMRZBz2Dv1CK7NtP9w3q0yJmXbEhGfLs4oUiTa8cYkQ"},
    201,
)
EXAMPLES: dict[type, object] = {
    wire.AddBody: {
        "phoneNumber": "12125550123",
        "batchId": _BATCH,
        "requestUUID": _ATTEMPT,
        "type": "customer_request",
    },
    wire.AddReply: success("Phone number added to DNC successfully", {"_id": _RECORD}),
    wire.RecordReply: success("DNC record fetched successfully", _RECORD_VIEW),
    wire.ListReply: success(
        "DNC list fetched successfully",
        {
            "dncList": [_RECORD_VIEW],
            "pagination": {
                "total": 1,
                "page": 1,
                "limit": 10,
                "totalPages": 1,
                "nextCursor": None,
            },
        },
    ),
    wire.SwitchBody: {"enable": True},
    wire.SettingsReply: success(
        "DNC settings fetched successfully", {"enable": True, "orgId": _ORG, "region": "US"}
    ),
    wire.CheckReply: success("Check completed", {**_BLOCKED, **_TAKEN}),
    wire.CheckManyBody: {"phoneNumbers": ["12125550123", "+44 20 7946 0123"]},
    wire.CheckManyReply: success(
        "Check completed", {"results": [_BLOCKED, _CALLABLE], "enforcement": "on", **_TAKEN}
    ),
    wire.BatchBody: {"batchName": "Autumn", "callingNumbers": ["6924a1b2c3d4e5f601234569"]},
    wire.BatchReply: success("Batch created successfully", _BATCH, 201),
    wire.CallsBody: {
        "batchId": _BATCH,
        "call_data": [{"phoneNumber": "12125550123", "firstName": "Ada"}],
    },
    wire.CallsReply: success("Calls enqueued successfully", {"added": 1, "callIds": [_CALL]}),
    wire.BatchDetailsReply: success(
        "Batch details fetched successfully",
        {
            "batchId": _BATCH,
            "batchName": "Autumn",
            "batchStatus": "created",
            "page": 1,
            "limit": 10,
            "total": 1,
            "totalPages": 1,
            "data": [
                {
                    "firstName": "Ada",
                    "_id": _CALL,
                    "phoneNumber": "12125550123",
                    "callStatus": "completed",
                    "phoneLogs": [
                        {
                            "requestUUID": _ATTEMPT,
                            "callStatus": "completed",
                            "callDuration": 42,
                            "recordingUrl": "https://recordings.example/1.mp3",
                            "transcript": "Please stop calling me.",
                            "createdAt": _AT,
                        }
                    ],
                    "createdAt": _AT,
                }
            ],
        },
    ),
    wire.ReportBody: {
        "batchId": _BATCH,
        "phoneNumber": "12125550123",
        "callStatus": "completed",
        "callDuration": 42,
    },
    wire.ReportReply: success("Call report recorded successfully", {"requestUUID": _ATTEMPT}),
    wire.OrgBody: {"name": "Example Ltd", "adminEmail": "admin@example.com", "region": "US"},
    wire.OrgChangeBody: {"adminEmail": "new@example.com"},
    wire.OrgReply: success("Organization updated successfully", _ORG_VIEW),
    wire.OrgsReply: success("Organizations fetched successfully", {"organizations": [_ORG_VIEW]}),
    wire.HealthReply: success("alive", {}),
    wire.PurgedReply: success(
        "Organization purged successfully",
        {"_id": _ORG, "ledger": f"kept until nocall org purge --org {_ORG}"},
    ),
    wire.TokenBody: {"name": "dialer", "scopes": ["dnc:read"]},
    wire.TokenReply: success("Token revoked successfully", {**_TOKEN_VIEW, "revokedAt": _AT}),
    wire.TokensReply: success("Tokens fetched successfully", {"tokens": [_TOKEN_VIEW]}),
}
