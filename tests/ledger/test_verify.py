"""`ledger verify`: whatever is done to the rows, the first wrong seq is named."""

import re
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from conftest import nocall_json, run_nocall
from ledger.conftest import Connection, Story, connect, transaction
from ledger.damage import CHANGES, DAMAGES, Damage, rewrite
from nocall import ledger
from nocall.errors import FieldInvalid, LedgerBroken
from nocall.ledger import parse_expected_head, verify
from nocall.model import Item, Kind, new_id


async def first_bad(connection: Connection, org_id: str, head: str | None = None) -> int | None:
    expected = parse_expected_head(head) if head else None
    try:
        await verify(transaction(connection, org_id), expected)
    except LedgerBroken as error:
        broken = error
    else:
        return None
    assert re.search(rf"\bentry {broken.seq}\b", str(broken)), "it is named to people too"
    return broken.seq


async def test_an_honest_ledger_verifies(owner, story):
    """Every kind of entry is in it, so what follows is about all of them."""
    found = await verify(transaction(owner, story.org_id), parse_expected_head(story.head))
    assert {kind.value for kind in Kind} <= set(story.seq)
    assert found.entry_count == found.head.seq == story.last
    assert found.item_count == sum([3, 1, 1, 1, 1, 1, 3]), "bulk, adds, again, late, delete, adds"
    assert await first_bad(owner, story.other_org_id) is None


async def test_every_column_is_among_the_damages(owner):
    cursor = await owner.execute(
        "select table_name || '.' || column_name from information_schema.columns "
        "where table_schema = 'nocall' and table_name in ('ledger_entry', 'ledger_item')"
    )
    columns = [row[0] for row in await cursor.fetchall()]
    assert sorted(columns) == sorted(damage.name for damage in CHANGES)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
async def test_damage_is_found(owner: Connection, story: Story, damage: Damage):
    expected = await damage.do(owner, story)
    assert await first_bad(owner, story.org_id) == expected


async def test_an_entry_in_a_foreign_ledger_is_found_there(owner, story):
    """An entry moved over is missed in the one ledger and does not belong in the other."""
    (move,) = [damage for damage in DAMAGES if damage.name == "ledger_entry.org_id"]
    seq = await move.do(owner, story)
    assert await first_bad(owner, story.other_org_id) == seq


async def test_a_new_hash_does_not_hide_a_change(owner, story):
    """The entry after it remembers the old one."""
    seq = story.seq["delete"]
    await rewrite(owner, story, seq, reason="another")
    assert await first_bad(owner, story.org_id) == seq + 1


async def test_a_new_hash_does_not_hide_a_count_that_is_wrong(owner, story):
    await rewrite(owner, story, story.last, item_count=2)
    assert await first_bad(owner, story.org_id) == story.last


async def _truncate(owner: Connection, story: Story, keep: int) -> None:
    """Cut the tail off so that nothing in the database speaks of it any more."""
    params = {"org": story.org_id, "keep": keep}
    tail = "where org_id = %(org)s and seq > %(keep)s"
    last = "(select seq, hash, at from ledger_entry where org_id = %(org)s and seq = %(keep)s)"
    for statement in (
        f"delete from ledger_item {tail}",
        f"delete from ledger_entry {tail}",
        f"update ledger_head set (seq, hash, at) = {last} where org_id = %(org)s",
    ):
        assert (await owner.execute(statement, params)).rowcount > 0


async def test_a_tail_cut_off_is_found_by_the_head_it_once_had(owner, story):
    """Without such a head it cannot be: that is why every mail carries one."""
    keep = story.seq["bulk"]
    await _truncate(owner, story, keep)
    assert await first_bad(owner, story.org_id) is None
    assert await first_bad(owner, story.org_id, story.head) == keep + 1


async def test_a_tail_written_anew_is_found_by_the_head_it_once_had(owner, story):
    keep = story.seq["bulk"]
    await _truncate(owner, story, keep)
    tx = transaction(owner, story.org_id)
    for _ in range(story.last - keep + 2):
        head = await ledger.lock_head(tx)
        await ledger.append(tx, head, Kind.ADD, items=[Item(12125550100, new_id())])
    assert await first_bad(owner, story.org_id) is None
    assert await first_bad(owner, story.org_id, story.head) == story.last


async def test_a_later_ledger_still_holds_an_earlier_head(owner, story):
    tx = transaction(owner, story.org_id)
    await ledger.append(tx, await ledger.lock_head(tx), Kind.SWITCHED_ON)
    assert await first_bad(owner, story.org_id, story.head) is None


async def test_a_gap_is_found(owner, story):
    """Even where every hash is right."""
    tx = transaction(owner, story.org_id)
    head = await ledger.lock_head(tx)
    await ledger.append(tx, replace(head, seq=head.seq + 1), Kind.SWITCHED_ON)
    assert await first_bad(owner, story.org_id) == story.last + 1


async def test_time_running_backwards_is_found(owner, story):
    """Even where every hash is right."""
    tx = transaction(owner, story.org_id)
    head = await ledger.lock_head(tx)
    earlier = replace(head, next_at=head.next_at - timedelta(days=1))
    await ledger.append(tx, earlier, Kind.SWITCHED_ON)
    assert await first_bad(owner, story.org_id) == story.last + 1


@pytest.mark.parametrize(
    "text", ["", "5", "5:", ":" + "0" * 64, "0:" + "0" * 64, "-1:" + "0" * 64, "5:" + "g" * 64]
)
def test_a_head_that_is_none_is_refused(text):
    with pytest.raises(FieldInvalid, match="--expect-head: must be SEQ:HASH"):
        parse_expected_head(text)


async def test_the_command_names_the_seq_and_exits_8(service, story, owner_url):
    """Nothing on stdout, one line on stderr."""
    arguments = ("ledger", "verify", "--org", story.org_id)
    seq = story.seq["delete"]
    swap = "update ledger_entry set reason = %s where org_id = %s and seq = %s"
    async with await connect(owner_url) as owner:
        await owner.execute(swap, ["typx", story.org_id, seq])
    try:
        for more in ((), ("--json",)):
            done = run_nocall(*arguments, *more, data=service.data, check=False)
            assert (done.returncode, done.stdout) == (8, "")
            assert done.stderr == f"nocall: entry {seq} was changed\n"
    finally:
        async with await connect(owner_url) as owner:
            await owner.execute(swap, ["typo", story.org_id, seq])
    found = nocall_json(*arguments, "--expect-head", story.head, data=service.data)
    assert (found["ok"], found["head"], found["entryCount"]) == (True, story.head, story.last)


async def test_the_command_takes_a_head(service, story):
    arguments = ("ledger", "verify", "--org", story.org_id, "--expect-head")
    wrong = f"{story.last + 1}:{'0' * 64}"
    done = run_nocall(*arguments, wrong, data=service.data, check=False)
    assert done.returncode == 8
    assert f"entry {story.last + 1} is missing" in done.stderr
    assert run_nocall(*arguments, "x", data=service.data, check=False).returncode == 4


async def test_the_constraints_hold_for_the_owner_too(owner, story):
    """An item without its entry cannot even be written."""
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await owner.execute(
            "insert into ledger_item (org_id, seq, position, number, record_id) "
            "values (%s, 100000, 0, 1, 'x')",
            [story.org_id],
        )
