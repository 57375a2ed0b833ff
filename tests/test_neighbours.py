"""What one organization does to itself does not reach the others."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from conftest import assert_problem, fresh_number


def test_writers_that_wait_for_each_other_leave_others_their_connections(cast, app_url):
    """Twelve adds wait for one organization's head; another's checks and adds go on."""
    with psycopg.connect(app_url, options="-c search_path=nocall") as holder:
        holder.execute("select from ledger_head where org_id = %s for update", [cast.org_id])
        with ThreadPoolExecutor(12) as pool:
            waiting = [pool.submit(cast.add, fresh_number()) for _ in range(12)]
            _wait_until_blocked(app_url)
            for _ in range(5):
                check = cast.stranger.get("/api/dnc/check", params={"phoneNumber": fresh_number()})
                assert check.status_code == 200, check.text
                added = cast.stranger.post(
                    "/api/dnc/add", json={"phoneNumber": fresh_number(), "source": "manual"}
                )
                assert added.status_code == 200, added.text
            assert cast.nobody.get("/health/ready").status_code == 200
            holder.rollback()
            codes = {job.result().status_code for job in waiting}
    assert codes <= {200, 503}
    assert 200 in codes


def _wait_until_blocked(app_url: str) -> None:
    deadline = time.monotonic() + 10
    with psycopg.connect(app_url, autocommit=True) as watcher:
        while time.monotonic() < deadline:
            row = watcher.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            ).fetchone()
            if row[0] >= 6:
                return
            time.sleep(0.02)
    raise AssertionError("the adds never came to wait")


def test_a_list_that_ran_ahead_of_its_mirror_is_still_answered(cast, owner_url):
    """More entries than a mirror carries: it is dropped, and the database answers."""
    number = fresh_number()
    cast.add(number)
    asked = {"phoneNumbers": [number, fresh_number()]}
    for _ in range(3):
        assert cast.owner.post("/api/dnc/check", json=asked).status_code == 200
    _append_bare_entries(owner_url, cast.org_id, 20_100)
    for _ in range(3):
        data = cast.owner.post("/api/dnc/check", json=asked).json()["data"]
        assert [one["verdict"] for one in data["results"]] == ["blocked", "callable"]
        assert data["seq"] > 20_000


def _append_bare_entries(owner_url: str, org_id: str, count: int) -> None:
    """Entries without numbers, as fast as the database takes them; this ledger is not verified."""
    with psycopg.connect(owner_url, options="-c search_path=nocall") as owner:
        owner.execute(
            "insert into ledger_entry (org_id, seq, at, kind, actor_kind, actor_id, actor_name, "
            "detail, item_count, items_digest, previous_hash, hash) select h.org_id, h.seq + n, "
            "h.at, 'switched_on', 'system', 'test', 'test', '{}', 0, '', '', '' "
            "from ledger_head h, generate_series(1, %(count)s) n where h.org_id = %(org_id)s",
            {"org_id": org_id, "count": count},
        )
        owner.execute(
            "insert into follower_cursor (org_id, follower, seq) "
            "select org_id, 'mail', seq + %(count)s from ledger_head where org_id = %(org_id)s "
            "on conflict (org_id, follower) do update set seq = excluded.seq",
            {"org_id": org_id, "count": count},
        )
        owner.execute(
            "update ledger_head set seq = seq + %(count)s where org_id = %(org_id)s",
            {"org_id": org_id, "count": count},
        )


def test_slow_numbers_let_others_have_their_turn(cast):
    """Ten thousand numbers that take a while to read, and a check in the middle of them."""
    slow = [f"4915{n:09d}" for n in range(10_000)]
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(cast.owner.post, "/api/dnc/check", json={"phoneNumbers": slow})
        answered = 0
        while not job.done():
            answer = cast.stranger.get("/api/dnc/check", params={"phoneNumber": fresh_number()})
            assert answer.status_code == 200
            answered += 1
        assert job.result().status_code == 200
    assert answered > 3


def test_what_is_400_is_said_before_what_is_404(cast):
    """A batch nobody has, and something wrong with the request besides."""
    unknown = "0123456789abcdef01234567"
    add = {"phoneNumber": fresh_number(), "batchId": unknown, "requestUUID": "u"}
    assert_problem(cast.owner.post("/api/dnc/add", json=add), 404, "batch_not_found")
    for wrong, code in (
        ({"phoneNumber": "abc"}, "number_invalid"),
        ({"requestUUID": "not one"}, "field_invalid"),
        ({"type": "x" * 65}, "field_invalid"),
        ({"reason": "\u0000"}, "field_invalid"),
    ):
        answer = cast.owner.post("/api/dnc/add", json={**add, **wrong})
        assert_problem(answer, 400, code, next(iter(wrong)))
    report = {"batchId": unknown, "phoneNumber": fresh_number(), "callStatus": "completed"}
    assert_problem(cast.owner.post("/api/call/report", json=report), 404, "batch_not_found")
    for wrong in ({"phoneNumber": "abc"}, {"callStatus": " "}, {"callDuration": -1}):
        answer = cast.owner.post("/api/call/report", json={**report, **wrong})
        assert answer.status_code == 400, answer.text
    calls = {"batchId": unknown, "call_data": [{"phoneNumber": "abc"}]}
    assert cast.owner.post("/api/call/addCallsToBatch", json=calls).status_code == 400


def test_an_empty_instant_is_no_instant(cast):
    """Else a token meant to end would never end."""
    token = cast.owner.post("/api/org/tokens", json={"scopes": ["dnc:read"], "expiresAt": ""})
    assert_problem(token, 400, "field_invalid", "expiresAt")
    assert_problem(cast.add(fresh_number(), requestedAt=""), 400, "field_invalid", "requestedAt")
