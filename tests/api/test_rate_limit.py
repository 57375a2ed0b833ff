"""The limit of requests per second and token."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conftest import Service, assert_problem, fresh_number

RATE = 5
WAYS: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "check one": lambda client: client.get("/api/dnc/check", params={"phoneNumber": "12125550123"}),
    "check many": lambda client: client.post(
        "/api/dnc/check", json={"phoneNumbers": ["12125550123"]}
    ),
    "check at": lambda client: client.get(
        "/api/dnc/check",
        params={"phoneNumber": "12125550123", "at": "2001-01-01T00:00:00Z"},
    ),
    "list": lambda client: client.get("/api/dnc/list"),
    "malformed": lambda client: client.post("/api/dnc/check", content=b"{"),
    "tokens": lambda client: client.get("/api/org/tokens"),
}


@pytest.fixture(scope="module")
def limited(service: Service) -> Iterator[Service]:
    """A process beside the other one, on the same data, that lets a token ask five times."""
    options = {"NOCALL_RATE_LIMIT_PER_SECOND": str(RATE), "NOCALL_WORKER": "false"}
    with Service.start(service.data, **options) as running:
        yield running
        assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture
def new_limited(limited, operator, new_org) -> Iterator[Callable[..., httpx.Client]]:
    """Clients of the limited process, each with a token of its own, all of one organization."""
    org_id, clients = new_org(), []

    def make() -> httpx.Client:
        answer = operator.post(
            f"/api/operator/orgs/{org_id}/tokens",
            json={"scopes": ["dnc:read", "dnc:write", "admin"]},
        )
        clients.append(limited.client(answer.json()["data"]["token"]))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def _until_refused(
    client: httpx.Client, send: Callable[[httpx.Client], httpx.Response]
) -> httpx.Response:
    """The first refusal, of requests sent many at once, so that a slow machine sees one too.

    After one alone: a token that was just asked about is counted in another place than a new one.
    """
    deadline = time.monotonic() + 30
    assert send(client).status_code != 429
    with ThreadPoolExecutor(4 * RATE) as pool:
        while time.monotonic() < deadline:
            for answer in pool.map(lambda _: send(client), range(4 * RATE)):
                if answer.status_code == 429:
                    return answer
    pytest.fail("the limit was not reached")


@pytest.mark.parametrize("way", WAYS)
def test_over_the_limit_is_429(new_limited, way):
    answer = _until_refused(new_limited(), WAYS[way])
    body = assert_problem(answer, 429, "rate_exceeded", f"{RATE} times a second")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["X-Request-Id"]
    assert body["data"] == {"retryAfterSeconds": 1}


@pytest.mark.parametrize("way", ["check one", "check many", "list"])
def test_it_recovers_after_as_long_as_it_says(new_limited, way):
    client = new_limited()
    answer = _until_refused(client, WAYS[way])
    time.sleep(int(answer.headers["Retry-After"]))
    assert WAYS[way](client).status_code == 200


def test_being_refused_costs_nothing(new_limited):
    """Whoever asks on and on is answered again and again, not never."""
    client = new_limited()
    _until_refused(client, WAYS["list"])
    answered, deadline = 0, time.monotonic() + 30
    while answered < 3:
        assert time.monotonic() < deadline
        answered += WAYS["list"](client).status_code == 200


@pytest.mark.parametrize("way", ["check one", "check many", "list"])
def test_another_token_is_free(new_limited, way):
    """Also one of the same organization."""
    busy, idle = new_limited(), new_limited()
    _until_refused(busy, WAYS[way])
    assert WAYS[way](idle).status_code == 200


@pytest.mark.parametrize(
    "ways",
    [["check one"] * 3, ["check many"] * 3, ["list"] * 3, ["check one", "list", "check many"]],
    ids=", ".join,
)
def test_every_request_counts_whatever_it_asks(new_limited, ways):
    """One after the other, so that the token is known from the second one on."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        client, started = new_limited(), time.monotonic()
        codes = [WAYS[way](client).status_code for way in ways for _ in range(RATE)]
        # Spread over more than a second they are allowed; then a new token is asked anew.
        if time.monotonic() - started < 1:
            assert 429 in codes
            return
    pytest.fail("the machine is too slow to ask fifteen times in a second")


def test_what_is_refused_is_not_done(new_limited, new_client, limited):
    client = new_limited()
    numbers = [fresh_number() for _ in range(6 * RATE)]
    with ThreadPoolExecutor(len(numbers)) as pool:
        codes = list(
            pool.map(
                lambda number: (
                    client.post(
                        "/api/dnc/add", json={"phoneNumber": number, "source": "manual"}
                    ).status_code
                ),
                numbers,
            )
        )
    added = {number for number, code in zip(numbers, codes, strict=True) if code == 200}
    assert set(codes) <= {200, 429}
    deadline = time.monotonic() + 30
    while (listed := client.get("/api/dnc/list", params={"limit": 1000})).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {record["phoneNumber"] for record in listed.json()["data"]["dncList"]} == added


def test_who_has_no_token_is_401_however_often(limited):
    with limited.client() as nobody:
        codes = {WAYS["list"](nobody).status_code for _ in range(4 * RATE)}
    assert codes == {401}


def test_the_open_routes_have_no_limit(limited):
    with limited.client() as anybody:
        codes = {anybody.get("/health/live").status_code for _ in range(4 * RATE)}
    assert codes == {200}
