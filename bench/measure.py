"""What is measured: each function takes the stage and gives rows of the table."""

import json
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import peer_postgres
import peer_redis
import sample
import table
from load import Load, Outcome
from stage import Stage
from table import Row

_CONNECTIONS = 64
_BULK_CONNECTIONS = 8
_BULK_SIZE = 1000
_WRITE_RATE = 200.0
_WRITE_CONNECTIONS = 16
_PAGE_LIMIT = 100
_CHECK, _LIST = "/api/dnc/check", "/api/dnc/list"
_PEER_SKIPPED = Row("peer skipped: install redis-server", peer="-")


def ceiling(stage: Stage) -> Iterator[Row]:
    """What the load can reach at most: see ceiling.py."""
    requests = sample.check_requests(_CHECK, ((number, "none") for number in stage.asked))
    found = _rounds(
        stage,
        {
            "raw": Load(stage.raw_port, requests, _CONNECTIONS, stage.seconds),
            "bare": Load(stage.bare_port, requests, _CONNECTIONS, stage.seconds),
        },
    )
    yield Row("raw ASGI, no work", peer=_per_second(found["raw"]), met=found["raw"].trouble)
    yield Row(
        "generator alone: bare socket, no work",
        peer=_per_second(found["bare"]),
        goal=">= 40.0 k req/s",
        met=found["bare"].trouble or ("yes" if found["bare"].per_second >= 40_000 else "NO"),
    )


def peer(stage: Stage) -> Iterator[Row]:
    """The Redis peer alone, as a user would build it."""
    if not stage.peer_port:
        yield _PEER_SKIPPED
        return
    single = sample.check_requests("/check", ((number, peer_redis.TOKEN) for number in stage.asked))
    runs = list(_runs(stage.asked))
    bulk_requests = sample.bulk_requests("/check", ((run, peer_redis.TOKEN) for run in runs))
    found = _rounds(
        stage,
        {
            "single": Load(stage.peer_port, single, _CONNECTIONS, stage.seconds),
            "bulk": Load(stage.peer_port, bulk_requests, _BULK_CONNECTIONS, stage.seconds),
        },
    )
    yield Row(
        "FastAPI + Redis, single check",
        peer=_per_second(found["single"]),
        met=found["single"].trouble,
    )
    yield Row("FastAPI + Redis, single check, p99", peer=f"{found['single'].p99:.2f} ms")
    many = found["bulk"].per_second * _BULK_SIZE
    yield Row(
        f"FastAPI + Redis, {_BULK_SIZE:,} a request",
        peer=f"{table.amount(many)} numbers/s",
        met=found["bulk"].trouble,
    )
    alone = table.amount(_in_process(stage, runs))
    yield Row("Redis SMISMEMBER from Python, no HTTP", peer=f"{alone} numbers/s")


def _in_process(stage: Stage, runs: Sequence[Sequence[int]]) -> float:
    words = [[str(number) for number in run] for run in runs]
    return statistics.median(
        stage.generate(peer_redis.in_process, stage.redis_socket, words, stage.seconds / 2)
        for _ in range(stage.rounds)
    )


def check(stage: Stage) -> Iterator[Row]:
    """Single checks over HTTP, strict, with the peer and raw ASGI in the same rounds."""
    one = sample.check_requests(_CHECK, ((number, stage.big.token) for number in stage.asked))
    hundred = sample.check_requests(
        _CHECK, ((number, tenant.token) for tenant, (number,) in stage.asked_by_many(1, 100_000))
    )
    loads = {
        "one": Load(stage.nocall_port, one, _CONNECTIONS, stage.seconds),
        "hundred": Load(stage.nocall_port, hundred, _CONNECTIONS, stage.seconds),
        "raw": Load(stage.raw_port, one, _CONNECTIONS, stage.seconds),
    }
    stage.probe()
    if stage.peer_port:
        asked = ((number, peer_redis.TOKEN) for number in stage.asked)
        peer_requests = sample.check_requests("/check", asked)
        loads["peer"] = Load(stage.peer_port, peer_requests, _CONNECTIONS, stage.seconds)
    else:
        yield _PEER_SKIPPED
    found = _rounds(stage, loads)
    rival, raw = found.get("peer"), found["raw"].per_second
    for name, label in (("one", "one org"), ("hundred", f"{len(stage.many)} orgs")):
        ours = found[name]
        what = f"single check, {label}"
        yield table.rate(
            f"{what}, beside FastAPI + Redis",
            ours.per_second,
            rival.per_second if rival else None,
            "req/s",
            least_ratio=4,
            trouble=ours.trouble or (rival.trouble if rival else ""),
        )
        yield table.rate(
            f"{what}, beside raw ASGI without work", ours.per_second, raw, "req/s", least_ratio=0.5
        )
        yield table.latency(
            f"{what}, p99 at {_CONNECTIONS} connections",
            ours.p99,
            rival.p99 if rival else None,
            most=10,
        )


def bulk(stage: Stage) -> Iterator[Row]:
    """A thousand numbers a request, with the reasons of what is blocked."""
    runs = list(_runs(stage.asked))
    one = sample.bulk_requests(_CHECK, ((run, stage.big.token) for run in runs))
    hundred = sample.bulk_requests(
        _CHECK,
        (
            (run, tenant.token)
            for tenant, run in stage.asked_by_many(_BULK_SIZE, 2 * len(stage.many))
        ),
    )
    loads = {
        "one": Load(stage.nocall_port, one, _BULK_CONNECTIONS, stage.seconds),
        "hundred": Load(stage.nocall_port, hundred, _BULK_CONNECTIONS, stage.seconds),
    }
    stage.probe()
    in_process = None
    if stage.peer_port:
        requests = sample.bulk_requests("/check", ((run, peer_redis.TOKEN) for run in runs))
        loads["peer"] = Load(stage.peer_port, requests, _BULK_CONNECTIONS, stage.seconds)
        in_process = _in_process(stage, runs)
    else:
        yield _PEER_SKIPPED
    found = _rounds(stage, loads)
    rival = found.get("peer")
    for name, label in (("one", "one org"), ("hundred", f"{len(stage.many)} orgs")):
        yield table.rate(
            f"bulk check, {_BULK_SIZE:,} a request, {label}",
            found[name].per_second * _BULK_SIZE,
            rival.per_second * _BULK_SIZE if rival else None,
            "numbers/s",
            least=500_000,
            trouble=found[name].trouble or (rival.trouble if rival else ""),
        )
    yield table.rate(
        "  beside SMISMEMBER from Python, no HTTP",
        found["one"].per_second * _BULK_SIZE,
        in_process,
        "numbers/s",
    )


def write(stage: Stage) -> Iterator[Row]:
    """Adds and deletes at a fixed rate, durable, beside an insert and commit on that server."""
    count = int(_WRITE_RATE * stage.seconds)
    fresh = iter(stage.unlisted(count * stage.rounds))
    adds, deletes, inserts, syncs = [], [], [], []
    for _ in range(stage.rounds):
        bodies = [{"phoneNumber": str(next(fresh)), "source": "api"} for _ in range(count)]
        requests = [sample.post_request("/api/dnc/add", stage.big.token, body) for body in bodies]
        added = stage.run(_write_load(stage, requests))
        adds.append(added)
        ids = [json.loads(body)["data"]["_id"] for body in added.bodies if b'"_id"' in body]
        requests = [
            sample.delete_request(f"/api/dnc/delete/{record_id}", stage.big.token)
            for record_id in ids
        ]
        deletes.append(stage.run(_write_load(stage, requests)))
        inserts.append(
            stage.generate(peer_postgres.insert_and_commit, stage.owner_url, stage.seconds / 2)
        )
        syncs.append(stage.generate(peer_postgres.append_and_sync, stage.folder, stage.seconds / 4))
    peer_p50 = statistics.median(insert.p50 for insert in inserts)
    peer_p99 = statistics.median(insert.p99 for insert in inserts)
    for verb, outcomes in (("add", adds), ("delete", deletes)):
        ours = _median(outcomes)
        what = f"{verb} at {_WRITE_RATE:.0f}/s, acknowledged, beside insert + commit"
        yield table.latency(f"{what}, p50", ours.p50, peer_p50, trouble=ours.trouble)
        yield table.latency(f"{what}, p99", ours.p99, peer_p99, most=10, trouble=ours.trouble)
    for what, durables in (("insert + commit", inserts), ("append 64 B + fdatasync", syncs)):
        per_second = table.amount(statistics.median(one.per_second for one in durables))
        p50 = statistics.median(one.p50 for one in durables)
        p99 = statistics.median(one.p99 for one in durables)
        yield Row(
            f"{what}, back to back: a second; p50; p99",
            peer=f"{per_second}; {p50:.2f}; {p99:.2f} ms",
        )


def _write_load(stage: Stage, requests: Sequence[bytes]) -> Load:
    return Load(
        stage.nocall_port,
        requests,
        _WRITE_CONNECTIONS,
        stage.seconds,
        rate=_WRITE_RATE,
        keep_bodies=True,
    )


def pages(stage: Stage) -> Iterator[Row]:
    """Pages of the big list, one reader."""
    chance = random.Random(7)
    last = stage.ask(f"{_LIST}?page=1&limit={_PAGE_LIMIT}")["data"]["pagination"]["totalPages"]
    wanted = {
        "first page": [1],
        "middle page": [last // 2],
        "last page": [last],
        "random pages": [chance.randint(1, last) for _ in range(500)],
    }
    loads = {}
    for name, numbers in wanted.items():
        paths = [f"{_LIST}?page={page}&limit={_PAGE_LIMIT}" for page in numbers]
        loads[name] = _read_load(stage, paths)
    for name, outcome in _rounds(stage, loads).items():
        yield table.latency(
            f"list of {stage.listed_label}, {name} of {_PAGE_LIMIT}, p99",
            outcome.p99,
            None,
            most=50,
            trouble=outcome.trouble,
        )


def search(stage: Stage) -> Iterator[Row]:
    """Searches of the big list, one reader; many different terms of each kind, so none is warm."""
    chance = random.Random(8)
    last = stage.ask(f"{_LIST}?page=1&limit={_PAGE_LIMIT}")["data"]["pagination"]["totalPages"]
    records = []
    for _ in range(10):
        page = chance.randint(1, last)
        records += stage.ask(f"{_LIST}?page={page}&limit={_PAGE_LIMIT}")["data"]["dncList"]
    uuids = [record["requestUUID"] for record in records if record.get("requestUUID")]
    terms = {
        "rare digits": [record["phoneNumber"][-8:] for record in records],
        "common digits": [str(number) for number in range(10, 100)],
        "type text": ["complaint", "WRONG_number", "customer", "request", "COMPLAIN", "number"],
        "part of a uuid": [uuid[:8] for uuid in uuids],
        "found nowhere": [f"zz{chance.randrange(10**6)}" for _ in range(100)],
    }
    loads = {}
    for name, words in terms.items():
        chance.shuffle(words)
        paths = [f"{_LIST}?page=1&limit={_PAGE_LIMIT}&search={quote(word)}" for word in words]
        loads[name] = _read_load(stage, paths)
    for name, outcome in _rounds(stage, loads).items():
        yield table.latency(
            f"search of {stage.listed_label}, {name}, p99",
            outcome.p99,
            None,
            most=250,
            trouble=outcome.trouble,
        )


def _read_load(stage: Stage, paths: Sequence[str]) -> Load:
    requests = [sample.get_request(path, stage.big.token) for path in paths]
    return Load(stage.nocall_port, requests, connections=1, seconds=stage.seconds)


def _rounds(stage: Stage, loads: Mapping[str, Load]) -> dict[str, Outcome]:
    """Each load in turn, round after round, so that a slow minute of the host hits all of them."""
    outcomes = defaultdict(list)
    for _ in range(stage.rounds):
        for name, load in loads.items():
            outcomes[name].append(stage.run(load))
    return {name: _median(found) for name, found in outcomes.items()}


def _median(outcomes: Sequence[Outcome]) -> Outcome:
    statuses: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        for status, count in outcome.statuses.items():
            statuses[status] += count
    return Outcome(
        per_second=statistics.median(outcome.per_second for outcome in outcomes),
        p50=statistics.median(outcome.p50 for outcome in outcomes),
        p99=statistics.median(outcome.p99 for outcome in outcomes),
        worst=max(outcome.worst for outcome in outcomes),
        errors=sum(outcome.errors for outcome in outcomes),
        statuses=dict(statuses),
    )


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _BULK_SIZE):
        yield numbers[start : start + _BULK_SIZE]


def _per_second(outcome: Outcome) -> str:
    return f"{table.amount(outcome.per_second)} req/s"


SECTIONS = {
    "ceiling": ceiling,
    "peer": peer,
    "check": check,
    "bulk": bulk,
    "write": write,
    "list": pages,
    "search": search,
}
