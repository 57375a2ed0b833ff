"""/openapi.json: that it is OpenAPI 3.1, complete, and true."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from conftest import ALL_SCOPES, assert_problem, fresh_number
from nocall.api.application import HANDLERS


@pytest.fixture(scope="module")
def document(service) -> dict[str, Any]:
    with service.client() as anybody:
        return anybody.get("/openapi.json").json()


@pytest.fixture(scope="module")
def owner(service, operator) -> Iterator[httpx.Client]:
    org = {"name": "Document", "adminEmail": "a@b.example"}
    org_id = operator.post("/api/operator/orgs", json=org).json()["data"]["_id"]
    token = operator.post(
        f"/api/operator/orgs/{org_id}/tokens", json={"scopes": list(ALL_SCOPES)}
    ).json()["data"]["token"]
    with service.client(token) as client:
        yield client


def _operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _validator(document: dict, schema: dict) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": document["components"]}, validate_formats=True
    )


def _media(operation: dict) -> Iterator[tuple[str, dict]]:
    """Every body and every answer of an operation: its place and what is said of it."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body {kind}", content
    for code, response in operation["responses"].items():
        for kind, content in response["content"].items():
            yield f"{code} {kind}", content


def test_it_is_openapi_3_1(document):
    """By the specification's own schema."""
    errors = jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(document)
    assert [(error.message, list(error.instance_path)) for error in errors] == []


def test_every_route_is_in_it(document):
    routes = {
        (re.sub(r":\w+\}", "}", path), method.lower())
        for handler in HANDLERS
        for path in handler.paths
        for method in handler.http_methods
    }
    assert {(path, method) for path, method, _ in _operations(document)} == routes


def test_every_operation_has_its_own_name(document):
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(names) == len(set(names))


def test_every_operation_says_what_it_needs(document):
    """And that without it the answer is 401; only a token's requests are counted."""
    for path, method, operation in _operations(document):
        (need,) = operation.get("security", [{None: []}])[0]
        codes = set(operation["responses"])
        assert "500" in codes
        assert (need is None) == (not path.startswith("/api/")), (path, method)
        assert (need == "operator") == path.startswith("/api/operator/"), (path, method)
        assert ({"401", "503"} <= codes) == (need is not None), (path, method)
        assert ({"403", "429"} <= codes) == (need == "token"), (path, method)
        assert ("413" in codes) == ("requestBody" in operation), (path, method)


def test_every_path_parameter_is_told(document):
    for path, _, operation in _operations(document):
        told = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
        assert told == re.findall(r"\{(\w+)\}", path)


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    named = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text))
    assert named == set(schemas)
    assert len(re.findall(r'"\$ref"', text)) == len(re.findall(r"#/components/schemas/", text))


def test_every_schema_is_one(document):
    for path, method, operation in _operations(document):
        for place, content in _media(operation):
            assert _validator(document, content["schema"]), (path, method, place)
        for parameter in operation["parameters"]:
            assert _validator(document, parameter["schema"]), (path, method, parameter["name"])


def test_every_example_fits_its_schema(document):
    """And every body and every success of ours has one, with the code that it stands at."""
    for path, method, operation in _operations(document):
        for place, content in _media(operation):
            if "$ref" not in content["schema"] or re.match(r"207|[45]\d\d ", place):
                continue
            errors = _validator(document, content["schema"]).iter_errors(content["example"])
            assert [error.message for error in errors] == [], (path, method, place)
            if not place.startswith("body"):
                assert place.startswith(str(content["example"]["code"])), (path, method)
        for parameter in operation["parameters"]:
            example = parameter["schema"].get("example", parameter.get("example"))
            if example is not None:
                assert _validator(document, parameter["schema"]).is_valid(example)


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "AddBody": ("/api/dnc/add", {"phoneNumber": "", "source": "manual"}),
    "BatchBody": ("/api/call/createBatch", {"batchName": "b", "callingNumbers": ["n"]}),
    "TokenBody": ("/api/org/tokens", {"scopes": ["dnc:read"]}),
    "ReportBody": (
        "/api/call/report",
        {"batchId": "", "phoneNumber": "", "callStatus": "completed"},
    ),
}
"""Bodies whose limits are tried out: where they are sent, and what else stands in them."""


@pytest.mark.parametrize("name", BODIES)
def test_a_limit_is_where_the_document_says(owner, document, name):
    """The limit itself is taken, one more is 400 naming the field: for every limit of length,
    size or value in the body.
    """
    path, rest = BODIES[name]
    tried = set()
    for field, about in document["components"]["schemas"][name]["properties"].items():
        plain = next((one for one in about.get("anyOf", []) if one["type"] != "null"), about)
        for fits, exceeds in _around_the_limits(field, plain):
            tried.add(field)
            good = {**rest, **_fresh(owner, name), field: fits}
            assert owner.post(path, json=good).status_code in (200, 201), (field, fits)
            answer = owner.post(path, json={**good, **_fresh(owner, name), field: exceeds})
            assert_problem(answer, 400, answer.json()["errorCode"], field)
    assert tried == LIMITED[name]


LIMITED = {
    "AddBody": {"type", "reason"},
    "BatchBody": {"batchName", "callingNumbers", "retry", "delay", "timezone", "allowedDays"},
    "TokenBody": {"scopes", "name"},
    "ReportBody": {"callStatus", "callDuration", "recordingUrl", "transcript", "requestUUID"},
}


def _fresh(owner: httpx.Client, name: str) -> dict[str, str]:
    """What has to be new in each request."""
    if name == "AddBody":
        return {"phoneNumber": fresh_number()}
    if name != "ReportBody":
        return {}
    batch = {"batchName": "b", "callingNumbers": ["n"]}
    batch_id = owner.post("/api/call/createBatch", json=batch).json()["data"]
    number = fresh_number()
    calls = {"batchId": batch_id, "call_data": [{"phoneNumber": number}]}
    owner.post("/api/call/addCallsToBatch", json=calls).raise_for_status()
    return {"batchId": batch_id, "phoneNumber": number}


def _around_the_limits(field: str, about: dict) -> Iterator[tuple[object, object]]:
    """For each limit of a field a value that just fits, and one that just does not."""
    if field in ("phoneNumber", "batchId"):
        return
    if field == "requestUUID" and "pattern" in about:
        longest = int(re.search(r"\{0,(\d+)\}", about["pattern"])[1]) + 1
        if "dialer" in about.get("description", ""):
            yield "x" * longest, "x" * (longest + 1)
    if "maxLength" in about:
        fits = "UTC" if field == "timezone" else "x" * about["maxLength"]
        yield fits, "x" * (about["maxLength"] + 1)
    if about.get("minLength") == 1:
        yield "x", ""
    if "minimum" in about:
        yield about["minimum"], about["minimum"] - 1
        yield about["maximum"], about["maximum"] + 1
    if "minItems" in about:
        item = about["items"]
        one = item["enum"][0] if "enum" in item else item.get("minimum", "x")
        yield [one], []
        for fits, exceeds in _around_the_limits(field, item):
            yield [fits], [exceeds]


@pytest.mark.parametrize("field", ["page", "limit", "search"])
def test_a_parameters_limit_is_where_the_document_says(owner, document, field):
    operation = document["paths"]["/api/dnc/list"]["get"]
    (about,) = (one["schema"] for one in operation["parameters"] if one["name"] == field)
    if field == "search":
        values = {"x" * about["maxLength"]: 200, "x" * (about["maxLength"] + 1): 400}
    else:
        values = {about["minimum"]: 200, about["minimum"] - 1: 400}
        if "maximum" in about:
            values |= {about["maximum"]: 200, about["maximum"] + 1: 400}
    for value, code in values.items():
        assert owner.get("/api/dnc/list", params={field: value}).status_code == code
