"""/health/live, /health/ready, /metrics, /openapi.json and /docs: open to anybody."""

import re
from html.parser import HTMLParser

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import assert_problem, fresh_number

OPEN = ["/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", "/docs/style.css"]


@pytest.fixture
def anybody(service):
    with service.client() as client:
        yield client


def _samples(client: httpx.Client) -> dict[tuple[str, frozenset], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def _labels(**labels: str) -> frozenset:
    return frozenset(labels.items())


def test_live(anybody):
    answer = anybody.get("/health/live")
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "alive",
        "status": True,
        "code": 200,
        "errorMessage": "",
        "data": {},
    }


def test_ready(anybody, owner_url):
    answer = anybody.get("/health/ready")
    with psycopg.connect(owner_url) as connection:
        (version,) = connection.execute(
            "select max(version) from nocall.schema_migration"
        ).fetchone()
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "ready",
        "status": True,
        "code": 200,
        "errorMessage": "",
        "data": {"databaseVersion": version},
    }


@pytest.mark.parametrize("path", OPEN)
def test_a_token_is_not_asked_for_and_does_no_harm(anybody, cast, path):
    assert anybody.get(path).status_code == 200
    assert cast.revoked.get(path).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_another_method_is_405(anybody, path):
    answer = anybody.post(path)
    assert_problem(answer, 405, "method_not_allowed", "POST", path)
    assert "GET" in answer.headers["Allow"]


def test_metrics_are_what_prometheus_reads(anybody):
    answer = anybody.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert {(family.name, family.type) for family in families} >= {
        ("nocall_http_requests", "counter"),
        ("nocall_http_request_seconds", "histogram"),
        ("nocall_check_verdicts", "counter"),
        ("nocall_database_up", "gauge"),
        ("nocall_mail_waiting_entries", "gauge"),
    }
    assert all(family.documentation for family in families)


def test_the_database_is_up(anybody):
    assert _samples(anybody)["nocall_database_up", _labels()] == 1


@pytest.mark.parametrize(
    ("send", "labels"),
    [
        (
            lambda cast: cast.owner.delete(f"/api/dnc/delete/{'0' * 24}"),
            _labels(method="DELETE", route="/api/dnc/delete/{record_id}", code="404"),
        ),
        (
            lambda cast: cast.nobody.get("/api/dnc/list"),
            _labels(method="GET", route="/api/dnc/list", code="401"),
        ),
        (
            lambda cast: cast.owner.get("/no/such/route/12125550123"),
            _labels(method="GET", route="unknown", code="404"),
        ),
        (
            lambda cast: cast.owner.get("/api/dnc/check", params={"phoneNumber": "12125550123"}),
            _labels(method="GET", route="/api/dnc/check", code="200"),
        ),
        (
            lambda cast: cast.owner.post("/api/dnc/check", json={"phoneNumbers": ["x"]}),
            _labels(method="POST", route="/api/dnc/check", code="200"),
        ),
    ],
)
def test_requests_are_counted_by_route(anybody, cast, send, labels):
    """By its template: no id and no number is ever a label."""
    before = _samples(anybody).get(("nocall_http_requests_total", labels), 0)
    for _ in range(3):
        send(cast)
    after = _samples(anybody)
    assert after["nocall_http_requests_total", labels] == before + 3
    assert not re.search(r"12125550123|0{24}", anybody.get("/metrics").text)


def test_verdicts_are_counted(anybody, cast):
    listed = fresh_number()
    cast.add(listed)
    before = _samples(anybody)
    texts = [listed, listed, fresh_number(), "no number"]
    cast.owner.post("/api/dnc/check", json={"phoneNumbers": texts}).raise_for_status()
    cast.owner.get("/api/dnc/check", params={"phoneNumber": listed}).raise_for_status()
    after = _samples(anybody)
    counted = {
        verdict: after["nocall_check_verdicts_total", _labels(verdict=verdict)]
        - before["nocall_check_verdicts_total", _labels(verdict=verdict)]
        for verdict in ("callable", "blocked", "invalid")
    }
    assert counted == {"callable": 1, "blocked": 3, "invalid": 1}


def test_the_openapi_document(anybody):
    answer = anybody.get("/openapi.json")
    document = answer.json()
    assert answer.headers["Content-Type"].startswith("application/json")
    assert document["openapi"] == "3.1.0"
    for path in ("/api/dnc/add", "/api/dnc/list", "/api/dnc/delete/{record_id}"):
        assert path in document["paths"]


class _Page(HTMLParser):
    """Every address that a page names, the scripts and the styles it has in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.inline: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "poster", "srcset", "formaction"):
                self.addresses.append(value)
            if name == "id":
                self.ids.add(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
        if tag in ("script", "style", "iframe", "object", "embed", "base", "meta"):
            named = {name for name, _ in attrs}
            if tag != "meta" or "http-equiv" in named:
                self.inline.append(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(anybody) -> _Page:
    found = _Page()
    found.feed(anybody.get("/docs").text)
    found.close()
    return found


def test_the_docs_page_needs_no_outside_host(anybody, page):
    """Every address is a path here or a place on the page, and there."""
    assert page.addresses
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        else:
            assert re.fullmatch(r"/(?!/)[\w./-]*", address), address
            assert anybody.get(address).status_code == 200
    assert page.inline == []
    assert "url(" not in anybody.get("/docs/style.css").text
    assert "@import" not in anybody.get("/docs/style.css").text


@pytest.mark.parametrize("path", ["/docs", "/docs/style.css"])
def test_the_docs_page_forbids_what_it_does_not_need(anybody, path):
    headers = anybody.get(path).headers
    policy = dict(
        directive.split(maxsplit=1) for directive in headers["Content-Security-Policy"].split("; ")
    )
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_docs_page_tells_every_route_and_status(anybody, page):
    document, text = anybody.get("/openapi.json").json(), "".join(page.text)
    for path, operations in document["paths"].items():
        assert path in text
        for operation in operations.values():
            assert operation["operationId"] in page.ids
            assert operation["summary"] in text
            for response in operation["responses"].values():
                assert response["description"].replace("`", "") in text


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/style.css", "text/css; charset=utf-8"),
        ("/openapi.json", "application/json"),
        ("/health/live", "application/json"),
    ],
)
def test_content_types(anybody, path, kind):
    assert anybody.get(path).headers["Content-Type"] == kind
