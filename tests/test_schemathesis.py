"""Our own OpenAPI document against the service, with whatever Schemathesis makes of it.

No request ends in a 500; every status is one that the document knows, every answer fits its schema
and has its content type and headers. Ids and numbers that were made up are replaced by real ones
half of the time, or most requests would end at "no such thing".
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import requests
import schemathesis
from schemathesis import BaseSchema, Case

from conftest import ALL_SCOPES, fresh_number
from nocall.api.application import HANDLERS
from nocall.api.document import build
from nocall.model import is_id

SEED = 20_261_124
SAMPLE = 25
FULL = 300
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


@dataclass
class Real:
    """Things that are there, and who may ask for them."""

    operator: httpx.Client
    owner: httpx.Client
    tokens: dict[str, str]
    """A token's text by the security scheme that asks for it."""
    session: requests.Session
    base_url: str
    org_id: str
    batch_id: str
    request_uuid: str
    number: str

    def record_id(self) -> str:
        body = {"phoneNumber": fresh_number(), "source": "manual"}
        return self.owner.post("/api/dnc/add", json=body).json()["data"]["_id"]

    def token_id(self) -> str:
        body = {"scopes": ["dnc:read"]}
        return self.owner.post("/api/org/tokens", json=body).json()["data"]["_id"]

    def exported_org_id(self) -> str:
        body = {"name": "Leaver", "adminEmail": "a@b.example"}
        org_id = self.operator.post("/api/operator/orgs", json=body).json()["data"]["_id"]
        self.operator.get(f"/api/operator/orgs/{org_id}/export").raise_for_status()
        return org_id


@pytest.fixture(scope="module")
def real(service, operator) -> Iterator[Real]:
    org = {"name": "Schemathesis", "adminEmail": "a@b.example"}
    org_id = operator.post("/api/operator/orgs", json=org).json()["data"]["_id"]
    token = operator.post(
        f"/api/operator/orgs/{org_id}/tokens", json={"scopes": list(ALL_SCOPES)}
    ).json()["data"]["token"]
    tokens = {"token": token, "operator": operator.headers["Authorization"].split()[1]}
    number = fresh_number()
    with service.client(token) as owner, requests.Session() as session:
        batch = {"batchName": "b", "callingNumbers": ["n"]}
        batch_id = owner.post("/api/call/createBatch", json=batch).json()["data"]
        calls = {"batchId": batch_id, "call_data": [{"phoneNumber": number}]}
        owner.post("/api/call/addCallsToBatch", json=calls).raise_for_status()
        report = {"batchId": batch_id, "phoneNumber": number, "callStatus": "completed"}
        attempt = owner.post("/api/call/report", json=report).json()["data"]["requestUUID"]
        yield Real(operator, owner, tokens, session, service.url, org_id, batch_id, attempt, number)


def _schema(max_examples: int) -> BaseSchema:
    """The document as `/openapi.json` gives it, and the same requests from it at every run."""
    checks = {"enabled": False} | {name: {"enabled": True} for name in CHECKS}
    generation = {"max-examples": max_examples, "deterministic": True, "database": "none"}
    config = schemathesis.Config.from_dict(
        {"seed": SEED, "generation": generation, "checks": checks}
    )
    return schemathesis.openapi.from_dict(build(HANDLERS), config=config)


@_schema(SAMPLE).parametrize()
def test_every_answer_is_as_documented(case: Case, real: Real):
    _send(case, real)


@pytest.mark.prove
@_schema(FULL).parametrize()
def test_every_answer_is_as_documented_at_length(case: Case, real: Real):
    _send(case, real)


def _send(case: Case, real: Real) -> None:
    _aim(case, real)
    (scheme,) = case.operation.definition.raw.get("security", [{None: []}])[0]
    headers = {"Authorization": f"Bearer {real.tokens[scheme]}"} if scheme else {}
    case.call_and_validate(base_url=real.base_url, session=real.session, headers=headers)


def _aim(case: Case, real: Real) -> None:
    """Put real ids and numbers in the place of made-up ones.

    Which, their own text decides: the same case must always be the same request.
    """
    for name, value in (case.path_parameters or {}).items():
        if is_id(str(value)) and _every_second(value):
            case.path_parameters[name] = _real_id(name, case.method, real)
    if isinstance(case.body, dict) and _every_second(case.body):
        known = {
            "batchId": real.batch_id,
            "requestUUID": real.request_uuid,
            "phoneNumber": real.number if "callStatus" in case.body else fresh_number(),
        }
        case.body = {
            name: known.get(name, value) if isinstance(value, str) else value
            for name, value in case.body.items()
        }
    if "Idempotency-Key" in (case.headers or {}) and _every_second(case.body):
        # The key that is made up most often is used up by the first body it stood with.
        del case.headers["Idempotency-Key"]
    if "phoneNumber" in (case.query or {}) and _every_second(case.query["phoneNumber"]):
        case.query["phoneNumber"] = real.number


def _real_id(name: str, method: str, real: Real) -> str:
    """For a deletion one of something that nothing else needs."""
    if name == "record_id":
        return real.record_id()
    if name == "token_id":
        return real.token_id()
    if name == "org_id" and method == "DELETE":
        return real.exported_org_id()
    return {"org_id": real.org_id, "batch_id": real.batch_id}[name]


def _every_second(value: object) -> bool:
    return zlib.crc32(repr(value).encode("utf-8", "surrogatepass")) % 2 == 0
