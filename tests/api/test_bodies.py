"""What every JSON route does with a body, a path, a method or a header that is not right."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from conftest import ALL_SCOPES, Service, assert_problem, fresh_number

LIMIT = 4096


@dataclass
class Everyone:
    """One organization with its clients, for requests that mostly change nothing."""

    owner: httpx.Client
    operator: httpx.Client
    nobody: httpx.Client
    org_id: str
    token: str
    batch_id: str = ""
    number: str = field(default_factory=fresh_number)

    def path(self, template: str) -> str:
        return template.replace("{org_id}", self.org_id)

    def client(self, template: str) -> httpx.Client:
        return self.operator if template.startswith("/api/operator/") else self.owner

    def send(self, route: tuple[str, str], content: bytes | str) -> httpx.Response:
        method, template = route
        return self.client(template).request(method, self.path(template), content=content)


BODIES: dict[tuple[str, str], Callable[[Everyone], dict]] = {
    ("POST", "/api/dnc/add"): lambda _: {"phoneNumber": fresh_number(), "source": "manual"},
    ("POST", "/api/dnc/check"): lambda one: {"phoneNumbers": [one.number]},
    ("POST", "/api/dnc/enable-disable"): lambda _: {"enable": True},
    ("POST", "/api/call/createBatch"): lambda _: {"batchName": "b", "callingNumbers": ["n"]},
    ("POST", "/api/call/addCallsToBatch"): lambda one: {
        "batchId": one.batch_id,
        "call_data": [{"phoneNumber": one.number}],
    },
    ("POST", "/api/call/report"): lambda one: {
        "batchId": one.batch_id,
        "phoneNumber": one.number,
        "callStatus": "completed",
    },
    ("POST", "/api/org/tokens"): lambda _: {"scopes": ["dnc:read"]},
    ("POST", "/api/operator/orgs"): lambda _: {"name": "n", "adminEmail": "a@b.example"},
    ("PATCH", "/api/operator/orgs/{org_id}"): lambda _: {"region": "US"},
    ("POST", "/api/operator/orgs/{org_id}/tokens"): lambda _: {"scopes": ["dnc:read"]},
}
"""Every route that takes a body, with one that it takes."""

ROUTES = pytest.mark.parametrize("route", BODIES, ids=" ".join)


def _everyone(service: Service, operator_token: str) -> Iterator[Everyone]:
    with service.client(operator_token) as operator, service.client() as nobody:
        org_id = operator.post(
            "/api/operator/orgs", json={"name": "Bodies", "adminEmail": "a@b.example"}
        ).json()["data"]["_id"]
        token = operator.post(
            f"/api/operator/orgs/{org_id}/tokens", json={"scopes": list(ALL_SCOPES)}
        ).json()["data"]["token"]
        with service.client(token) as owner:
            made = Everyone(owner, operator, nobody, org_id, token)
            for route in ("/api/call/createBatch", "/api/call/addCallsToBatch"):
                answer = owner.post(route, json=BODIES["POST", route](made))
                made.batch_id = made.batch_id or answer.json()["data"]
            yield made


@pytest.fixture(scope="module")
def everyone(service, operator) -> Iterator[Everyone]:
    yield from _everyone(service, operator.headers["Authorization"].removeprefix("Bearer "))


@pytest.fixture(scope="module")
def document(everyone) -> dict:
    return everyone.nobody.get("/openapi.json").json()


def _schemas(document: dict) -> dict[tuple[str, str], dict]:
    """The body's schema of every route that takes one."""
    return {
        (method.upper(), path): document["components"]["schemas"][
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
        ]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }


def _with(body: dict, member: str) -> str:
    """`body` as JSON text with one more member, which is given as text."""
    return json.dumps(body)[:-1] + f",{member}}}"


def test_this_file_knows_every_route(document):
    assert set(_schemas(document)) == set(BODIES)


@ROUTES
def test_the_plain_body_is_taken(everyone, document, route):
    answer = everyone.send(route, json.dumps(BODIES[route](everyone)))
    method, path = route
    first = min(document["paths"][path][method.lower()]["responses"])
    assert str(answer.status_code) == first, answer.text


MALFORMED = [
    (b"{", "position 1"),
    (b'{"a": }', "line 1 column 7 (position 6)"),
    (b'{\n"a": 1\n"b": 2}', "line 3 column 1 (position 9)"),
    (b'{"a": 1,}', "position"),
    (b'{"a" 1}', "position 5"),
    (b"{'a': 1}", "position 1"),
    (b"nonsense", "position 0"),
    (b'{"a": 1} {}', "position 9"),
    (b'{"a": 01}', "position 7"),
    (b'{"a": .5}', "position 6"),
    (b'{"a": NaN}', "byte 6"),
    (b'{"a": -Infinity}', "byte 7"),
    (b'{"a": tru}', "position 6"),
    (b'{"a": "\x01"}', "position 7"),
    (b'{"a": "\n"}', "position 7"),
    (b'{"a": "\\x41"}', "position 7"),
    (b'{"a": "\\ud800"}', "position 7"),
    (b'{"a": "\\\\ \\ude00\\ud83d"}', "position 10"),
    (b'{"\\ud83dx": 1}', "position 2"),
    (b"\x00{}", "position 0"),
    (b"\xef\xbb\xbf{}", "BOM"),
    (b'{"a": "\xff"}', "UTF-8 at byte 7"),
    (b'{"a": "\xed\xa0\x80"}', "UTF-8 at byte 7"),
    (b'{"\xc0\xaf": 1}', "UTF-8 at byte 2"),
    ("{}".encode("utf-16"), "UTF-8 at byte 0"),
    ("{}".encode("utf-16-le"), "position 1"),
    (b"", "empty"),
    (b" \r\n\t ", "empty"),
    (b"[]", "JSON object"),
    (b'[{"phoneNumber": "12125550123"}]', "JSON object"),
    (b'"{}"', "JSON object"),
    (b"7", "JSON object"),
    (b"null", "JSON object"),
    (b"[" * 100_000, "nested too deeply"),
    (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    (b'{"a":' * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("content", "words"), MALFORMED, ids=lambda part: str(part[:20]))
def test_what_is_no_json_object_is_400(everyone, content, words):
    """With its place, for every route; the answer of the fast lane is the same as the others'."""
    texts = set()
    for route in BODIES:
        body = assert_problem(everyone.send(route, content), 400, "body_malformed", words)
        assert "data" not in body
        texts.add(body["errorMessage"])
    assert len(texts) == 1 or "JSON object" in words


@ROUTES
def test_unknown_fields_are_ignored(everyone, route):
    """Whatever is in them, as long as it is JSON: a number that no computer holds, too."""
    for member in (
        '"unknown": {"nested": [1, "two", {"three": null}]}',
        '"": "", "über": "x", "_id": 7',
        '"unknown": ' + "9" * 5_000,
        '"unknown": [' + "9" * 5_000 + ', {"a": -1e999999, "b": 0.1e-999999}]',
        '"unknown": ' + "[" * 500 + "]" * 500,
        '"unknown": "\\u0000\\ud83d\\ude00"',
    ):
        body = BODIES[route](everyone)
        answer = everyone.send(route, _with(body, member))
        assert answer.status_code in (200, 201), (member[:40], answer.text)


@ROUTES
def test_deep_nesting_never_fails(everyone, route):
    """Around every depth at which one of the readers may give up."""
    for depth in (*range(940, 1001, 3), 5_000, 200_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            nested = opening * depth + ("" if opening == "[" else "1") + closing * depth
            body = BODIES[route](everyone)
            answer = everyone.send(route, _with(body, f'"unknown": {nested}'))
            assert answer.status_code in (200, 201, 400), (depth, answer.text)
            if answer.status_code == 400:
                assert_problem(answer, 400, "body_malformed", "nested too deeply")
    assert answer.status_code == 400


@ROUTES
@pytest.mark.parametrize(
    ("member", "twice"),
    [
        ('"x": 1, "x": 1', "x"),
        ('"x": 1, "y": 2, "\\u0078": 3', "x"),
        ('"x": {"y": 1, "y": 2}', "y"),
        ('"x": [[{"z": {"y": [{"a": 1, "b": {"c": 1, "c": null}}]}}]]', "c"),
        ('"": 1, "": 2', ""),
        (f'"x": {"9" * 5_000}, "x": 1', "x"),
    ],
    ids=lambda part: part[:24],
)
def test_a_key_twice_is_400(everyone, route, member, twice):
    """At any depth, known or not, however it is spelled."""
    answer = everyone.send(route, _with(BODIES[route](everyone), member))
    assert_problem(answer, 400, "field_invalid", f"{twice}: stands twice")


@ROUTES
def test_a_known_key_twice_is_400(everyone, route):
    body = BODIES[route](everyone)
    name = next(iter(body))
    again = f'"{name}": {json.dumps(body[name])}'
    answer = everyone.send(route, _with(body, again))
    assert_problem(answer, 400, "field_invalid", f"{name}: stands twice")


def test_a_key_that_only_looks_as_if_it_stood_twice(everyone):
    body = json.dumps({"enable": True, "x": '{"y": 1, "y": 2}', "X": {"enable": 1}})
    answer = everyone.send(("POST", "/api/dnc/enable-disable"), body)
    assert answer.status_code == 200


WRONG = {"string": 7, "integer": "7", "boolean": "yes", "array": "seven", "object": "seven"}


@ROUTES
def test_a_wrong_type_is_400_naming_field_and_value(everyone, document, route):
    schema = _schemas(document)[route]
    assert schema["properties"]
    for name, about in schema["properties"].items():
        allowed = {about.get("type"), *(one.get("type") for one in about.get("anyOf", []))}
        kind = next(one for one in allowed if one not in (None, "null"))
        body = {**BODIES[route](everyone), name: WRONG[kind]}
        shown = ascii(WRONG[kind])
        answer = everyone.send(route, json.dumps(body))
        assert_problem(answer, 400, "field_invalid", f"{name}: expected", f"got {shown}")


@ROUTES
def test_null_is_400_where_it_is_not_allowed(everyone, document, route):
    schema = _schemas(document)[route]
    for name, about in schema["properties"].items():
        nullable = "null" in [one.get("type") for one in about.get("anyOf", [])]
        answer = everyone.send(route, json.dumps({**BODIES[route](everyone), name: None}))
        if nullable:
            assert answer.status_code in (200, 201, 400), answer.text
            assert answer.json().get("errorCode") != "field_invalid", answer.text
        else:
            assert_problem(answer, 400, "field_invalid", f"{name}: expected", "null")


@ROUTES
@pytest.mark.parametrize(
    "text",
    ["9" * 19, "-" + "9" * 40, "9" * 400, "9" * 5_000, "1e400"],
    ids=lambda text: f"{text[:4]}, {len(text)}",
)
def test_a_huge_number_is_400(everyone, document, route, text):
    """Wherever a number is taken; there, and where it is not, the field is named."""
    for name in _schemas(document)[route]["properties"]:
        body = BODIES[route](everyone)
        body.pop(name, None)
        content = _with(body, f'"{name}": {text}') if body else f'{{"{name}": {text}}}'
        assert_problem(everyone.send(route, content), 400, "field_invalid", f"{name}: ")


@ROUTES
def test_a_missing_field_is_named(everyone, document, route):
    for name in _schemas(document)[route].get("required", []):
        body = BODIES[route](everyone)
        del body[name]
        answer = everyone.send(route, json.dumps(body))
        assert_problem(answer, 400, "field_missing", f"{name}: is required")


def test_control_characters_are_400(everyone):
    for text in ("a\x00b", "a\x1fb", "a\x7fb", "a\x85b"):
        body = {"phoneNumber": fresh_number(), "source": "manual", "type": text}
        answer = everyone.send(("POST", "/api/dnc/add"), json.dumps(body))
        assert_problem(answer, 400, "field_invalid", "type", "control character")


@pytest.fixture(scope="module")
def small(service, operator) -> Iterator[Everyone]:
    """A process beside the other one, on the same data, that takes little."""
    options = {"NOCALL_BODY_LIMIT_BYTES": str(LIMIT), "NOCALL_WORKER": "false"}
    with Service.start(service.data, **options) as running:
        yield from _everyone(running, operator.headers["Authorization"].removeprefix("Bearer "))
        assert running.stop() == 0, running.log.read_text()[-2000:]


class TestSize:
    @ROUTES
    def test_the_limit_itself_is_allowed(self, small, route):
        text = json.dumps(BODIES[route](small))
        answer = small.send(route, text + " " * (LIMIT - len(text)))
        assert answer.status_code in (200, 201), answer.text

    @ROUTES
    @pytest.mark.parametrize("size", [LIMIT + 1, 20 * LIMIT, 2_000_000])
    def test_a_larger_body_is_413(self, small, route, size):
        text = json.dumps(BODIES[route](small))
        answer = small.send(route, text + " " * (size - len(text)))
        assert_problem(answer, 413, "body_too_large", str(LIMIT))
        assert answer.headers["X-Request-Id"]

    @ROUTES
    def test_a_body_in_chunks_is_counted_too(self, small, route):
        """It says no length beforehand."""
        method, template = route
        text = json.dumps(BODIES[route](small)).encode()

        def send(size: int) -> httpx.Response:
            chunks = iter([text, *[b" " * 512] * (size // 512)])
            return small.client(template).request(method, small.path(template), content=chunks)

        assert send(LIMIT - 1024).status_code in (200, 201)
        assert_problem(send(LIMIT + 512), 413, "body_too_large", str(LIMIT))

    def test_what_is_too_large_is_not_done(self, small):
        number = fresh_number()
        body = json.dumps({"phoneNumber": number, "source": "manual"}) + " " * LIMIT
        assert small.send(("POST", "/api/dnc/add"), body).status_code == 413
        check = small.owner.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]
        assert check["verdict"] == "callable"

    @ROUTES
    def test_no_credential_comes_first(self, small, route):
        method, template = route
        answer = small.nobody.request(method, small.path(template), content=b" " * 2 * LIMIT)
        assert_problem(answer, 401, "not_authenticated")

    def test_without_an_option_the_limit_is_8_mebibytes(self, everyone):
        route = ("POST", "/api/dnc/enable-disable")
        text = '{"enable": true}'
        assert everyone.send(route, text + " " * (8 * 1024 * 1024 - len(text))).status_code == 200
        answer = everyone.send(route, text + " " * (8 * 1024 * 1024 + 1 - len(text)))
        assert_problem(answer, 413, "body_too_large", "8388608")


class TestRoutes:
    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/api",
            "/api/dnc",
            "/api/dnc/lists",
            "/api/dnc/delete/000000000000000000000000/more",
            "/api/DNC/list",
            "/docs/../etc/passwd",
            "/docs/%2e%2e/style.css",
            "/%00",
            "/favicon.ico",
            "/api/dnc/%F0%9F%98%80",
        ],
    )
    @pytest.mark.parametrize("who", ["owner", "nobody"])
    def test_an_unknown_route_is_404(self, everyone, who, path):
        answer = getattr(everyone, who).get(path)
        body = assert_problem(answer, 404, "route_not_found", "no route GET")
        assert body["errorMessage"].isascii()

    def test_a_wrong_method_is_405(self, everyone, document):
        """It says which ones are right."""
        for template, operations in document["paths"].items():
            path = re.sub(r"\{\w+\}", "0" * 24, template)
            known = {method.upper() for method in operations}
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - known:
                answer = everyone.owner.request(method, path)
                assert_problem(answer, 405, "method_not_allowed", method)
                allowed = set(answer.headers["Allow"].split(", "))
                assert allowed == known, (template, allowed)

    @pytest.mark.parametrize("method", ["HEAD", "TRACE", "PROPFIND"])
    def test_a_rare_method_is_405(self, everyone, method):
        answer = everyone.owner.request(method, "/api/dnc/list")
        assert answer.status_code == 405
        assert "GET" in answer.headers["Allow"]


class TestRequestId:
    @pytest.fixture
    def sent(self, everyone) -> Callable[[dict], list[httpx.Response]]:
        """An answer of every kind to a request with these headers."""

        def send(headers: dict) -> list[httpx.Response]:
            owner, nobody = everyone.owner, everyone.nobody
            return [
                owner.get("/api/dnc/list", headers=headers),
                owner.post("/api/dnc/enable-disable", json={"enable": True}, headers=headers),
                owner.post("/api/dnc/add", content=b"{", headers=headers),
                owner.get("/api/dnc/check", headers=headers),
                owner.delete(f"/api/dnc/delete/{'0' * 24}", headers=headers),
                owner.put("/api/dnc/list", headers=headers),
                owner.get("/no/such/route", headers=headers),
                nobody.get("/api/dnc/list", headers=headers),
                nobody.get("/health/live", headers=headers),
                nobody.get("/metrics", headers=headers),
            ]

        return send

    @pytest.mark.parametrize("identity", ["abc-123._X", "7", "x" * 64])
    def test_it_comes_back(self, sent, identity):
        answers = sent({"X-Request-Id": identity})
        assert [answer.headers.get_list("X-Request-Id") for answer in answers] == [[identity]] * 10

    @pytest.mark.parametrize("identity", [None, "", "x" * 65, "a b", '"', "é", "<b>"])
    def test_else_one_is_made(self, sent, identity):
        headers = {} if identity is None else {"X-Request-Id": identity.encode()}
        made = [answer.headers["X-Request-Id"] for answer in sent(headers)]
        assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in made)
        assert len(set(made)) == len(made)


class TestLog:
    def test_nothing_personal_is_ever_logged(self, service, operator):
        """A process of its own, after a busy run with every kind of answer: its log has no token,
        no whole number and no transcript. It has the requests, so it is not empty for that.
        """
        token = operator.headers["Authorization"].removeprefix("Bearer ")
        with Service.start(service.data) as running, running.client() as nobody:
            words = _be_busy(running, nobody, token)
            assert running.stop() == 0
        lines = [json.loads(line) for line in running.log.read_text().splitlines()]
        requests = [line for line in lines if line["what"] == "request"]
        assert len(requests) > 20
        assert {200, 201, 400, 401, 403, 404, 405, 409} <= {line["status"] for line in requests}
        assert {line["request"] for line in requests} >= {"busy-1", "busy-2"}
        text = running.log.read_text()
        for word in words:
            assert word not in text, word


def _be_busy(running: Service, nobody: httpx.Client, operator_token: str) -> list[str]:
    """Ask everything, rightly and wrongly; returns what must not be in the log."""
    transcript, number, local = "Do not call my grandmother", "12125550187", "2125550187"
    words = [
        transcript,
        number,
        local,
        "555-0187",
        "5550199",
        "grandmother",
        operator_token.removeprefix("nocallop_"),
    ]
    for one in _everyone(running, operator_token):
        words.append(one.token.split("_", 2)[2])
        report = {
            "batchId": one.batch_id,
            "phoneNumber": number,
            "callStatus": "completed",
            "transcript": transcript,
            "requestUUID": "busy",
        }
        add = {"phoneNumber": number, "batchId": one.batch_id, "requestUUID": "busy"}
        calls = {"batchId": one.batch_id, "call_data": [{"phoneNumber": number}]}
        other = {"batchId": one.batch_id, "call_data": [{"phoneNumber": "12125550199"}]}
        record_id = ""
        for path, body in (
            ("/api/call/addCallsToBatch", calls),
            ("/api/call/addCallsToBatch", other),
            ("/api/call/report", report),
            ("/api/call/report", {**report, "phoneNumber": "12125550199"}),
            ("/api/dnc/add", {**add, "reason": transcript, "type": "complaint"}),
            ("/api/dnc/add", add),
            ("/api/dnc/add", {**add, "requestUUID": "other"}),
            ("/api/dnc/add", {**add, "source": number}),
            ("/api/dnc/add", {"phoneNumber": f"{number} {transcript}"}),
            ("/api/dnc/check", {"phoneNumbers": [number, "+1 (212) 555-0187"]}),
            ("/api/dnc/check", {"phoneNumbers": [number, 7]}),
            ("/api/dnc/check", {"phoneNumbers": []}),
            ("/api/dnc/enable-disable", {"enable": number}),
            ("/api/call/report", {**report, "callDuration": -1}),
            ("/api/org/tokens", {"scopes": ["dnc:read"], "name": "one"}),
            ("/api/org/tokens", {"scopes": [one.token]}),
        ):
            answer = one.owner.post(path, json=body, headers={"X-Request-Id": "busy-1"})
            assert answer.status_code < 500
            if path == "/api/org/tokens" and answer.status_code == 201:
                made = answer.json()["data"]["token"]
                words.append(made.split("_", 2)[2])
                with running.client(made) as weak:
                    assert weak.get("/api/org/tokens").status_code == 403
            if path == "/api/dnc/add" and answer.status_code == 200:
                record_id = answer.json()["data"]["_id"]
        for method, path in (
            ("GET", f"/api/dnc/check?phoneNumber={number}"),
            ("GET", f"/api/dnc/check?phoneNumber={number}&at=2001-01-01T00:00:00Z"),
            ("GET", f"/api/dnc/check?phoneNumber={number}&phoneNumber={number}"),
            ("GET", "/api/dnc/check?phoneNumber=%2B1%20212%20555-0187"),
            ("GET", f"/api/dnc/list?search={number}"),
            ("GET", f"/api/dnc/list?page={number}{number}"),
            ("GET", f"/api/dnc/record/{number}"),
            ("GET", f"/api/dnc/record/{record_id}"),
            ("GET", f"/api/call/batch-details/{one.batch_id}"),
            ("GET", f"/no/such/route/{number}/{one.token}"),
            ("GET", f"/?token={one.token}"),
            ("DELETE", f"/api/dnc/delete/{number}"),
            ("DELETE", f"/api/dnc/delete/{record_id}?reason=grandmother%20{number}"),
            ("DELETE", f"/api/dnc/delete/{record_id}"),
            ("PUT", f"/api/dnc/delete/{number}"),
        ):
            answer = one.owner.request(method, path, headers={"X-Request-Id": "busy-2"})
            assert answer.status_code < 500
            nobody.request(method, path, headers={"Authorization": f"Bearer {number}"})
        one.operator.get(f"/api/operator/orgs/{one.org_id}/export").raise_for_status()
        one.operator.delete(f"/api/operator/orgs/{one.org_id}").raise_for_status()
    return words
