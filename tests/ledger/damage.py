"""What somebody with the owner's login could do to a ledger, as SQL, and the first seq that is
wrong afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ledger.conftest import Connection, Story, transaction
from nocall import ledger
from nocall.ledger.digest import entry_hash


@dataclass(frozen=True)
class Damage:
    name: str
    statements: tuple[str, ...]
    first_bad: Callable[[Story], int]

    async def do(self, connection: Connection, story: Story) -> int:
        """Returns the first bad seq."""
        params = {
            "org": story.org_id,
            "other": story.other_org_id,
            "last": story.last,
            **{name.replace(" ", "_"): seq for name, seq in story.seq.items()},
        }
        for statement in self.statements:
            cursor = await connection.execute(statement, params)
            assert cursor.rowcount > 0, statement
        return self.first_bad(story)


def at(name: str) -> Callable[[Story], int]:
    return lambda story: story.seq[name]


def after_last(story: Story) -> int:
    return story.last + 1


TEXT = "left({c}, -1) || chr(ascii(right({c}, 1)) # 1)"
BYTES = "set_byte({c}, 31, get_byte({c}, 31) # 1)"
NUMBER = "{c} # 1"

ENTRY_CHANGES = {
    "at": "at + interval '1 microsecond'",
    "kind": TEXT,
    "actor_kind": TEXT,
    "actor_id": TEXT,
    "actor_name": TEXT,
    "source": TEXT,
    "reason": TEXT,
    "detail": TEXT,
    "item_count": NUMBER,
    "items_digest": BYTES,
    "previous_hash": BYTES,
    "hash": BYTES,
}
"""Each column of ledger_entry to an expression that changes one byte of it."""

ITEM_CHANGES = {
    "position": NUMBER,
    "number": NUMBER,
    "record_id": TEXT,
    "type": TEXT,
    "reason": TEXT,
    "batch_id": TEXT,
    "request_uuid": TEXT,
    "recording_sha256": BYTES,
    "transcript_sha256": BYTES,
}

_OF = "where org_id = %(org)s and seq = "
_OF_LAST_ITEM = f"{_OF} %(bulk)s and position = 2"
_ENTRY = (
    "insert into ledger_entry select org_id, {seq}, at, kind, actor_kind, actor_id, actor_name, "
    "source, reason, detail, item_count, items_digest, previous_hash, hash "
    "from ledger_entry where org_id = %(org)s and seq = {of}"
)
_ITEM = (
    "insert into ledger_item (org_id, seq, position, number, record_id) "
    "values (%(org)s, {seq}, 9, 12125550100, 'x')"
)

CHANGES = [
    *(
        Damage(
            f"ledger_entry.{column}",
            (f"update ledger_entry set {column} = {how.format(c=column)} {_OF} %(from_a_call)s",),
            at("from a call"),
        )
        for column, how in ENTRY_CHANGES.items()
    ),
    Damage(
        "ledger_entry.seq",
        (f"update ledger_entry set seq = 1000 {_OF} %(switched_off)s",),
        at("switched_off"),
    ),
    Damage(
        "ledger_entry.org_id",
        (
            "delete from ledger_entry where org_id = %(other)s and seq = %(switched_off)s",
            f"update ledger_entry set org_id = %(other)s {_OF} %(switched_off)s",
        ),
        at("switched_off"),
    ),
    *(
        Damage(
            f"ledger_item.{column}",
            (f"update ledger_item set {column} = {how.format(c=column)} {_OF_LAST_ITEM}",),
            at("bulk"),
        )
        for column, how in ITEM_CHANGES.items()
    ),
    Damage(
        "ledger_item.seq",
        (f"update ledger_item set seq = %(switched_off)s {_OF} %(from_a_call)s",),
        at("from a call"),
    ),
    Damage(
        "ledger_item.org_id",
        (f"update ledger_item set org_id = %(other)s {_OF} %(from_a_call)s",),
        at("from a call"),
    ),
]
"""One byte of every column, once."""

EMPTIED = [
    Damage(
        f"ledger_entry.{column} gone",
        (f"update ledger_entry set {column} = null {_OF} %(from_a_call)s",),
        at("from a call"),
    )
    for column in ("source", "reason")
] + [
    Damage(
        f"ledger_item.{column} {name}",
        (f"update ledger_item set {column} = {value} {_OF} %({seq})s",),
        at(seq.replace("_", " ")),
    )
    for column in ("type", "reason", "batch_id", "request_uuid")
    for name, value, seq in (("gone", "null", "bulk"), ("made empty", "''", "by_hand"))
]
"""No value and an empty one are two things."""

MOVES = [
    Damage(
        "the first entry removed",
        (f"delete from ledger_entry {_OF} 1",),
        lambda _: 1,
    ),
    Damage(
        "an entry removed",
        (
            f"delete from ledger_item {_OF} %(by_hand)s",
            f"delete from ledger_entry {_OF} %(by_hand)s",
        ),
        at("by hand"),
    ),
    Damage(
        "the last entry removed",
        (f"delete from ledger_item {_OF} %(last)s", f"delete from ledger_entry {_OF} %(last)s"),
        lambda story: story.last,
    ),
    Damage(
        "an item removed",
        (f"delete from ledger_item {_OF} %(bulk)s and position = 1",),
        at("bulk"),
    ),
    Damage(
        "the last item removed, and the count with it",
        (
            f"delete from ledger_item {_OF} %(bulk)s and position = 2",
            f"update ledger_entry set item_count = 2 {_OF} %(bulk)s",
        ),
        at("bulk"),
    ),
    Damage("an item added", (_ITEM.format(seq="%(bulk)s"),), at("bulk")),
    Damage(
        "an item added where there was none",
        (_ITEM.format(seq="%(switched_off)s"),),
        at("switched_off"),
    ),
    Damage(
        "two items swapped",
        tuple(
            f"update ledger_item set position = {new} {_OF} %(bulk)s and position = {old}"
            for old, new in ((0, 9), (1, 0), (9, 1))
        ),
        at("bulk"),
    ),
    Damage(
        "two entries swapped",
        tuple(
            f"update ledger_entry set seq = {new} {_OF} {old}"
            for old, new in (
                ("%(switched_off)s", "1000"),
                ("%(switched_on)s", "%(switched_off)s"),
                ("1000", "%(switched_on)s"),
            )
        ),
        at("switched_off"),
    ),
    Damage(
        "an entry put before the first",
        (_ENTRY.format(seq=0, of=1),),
        lambda _: 1,
    ),
    Damage(
        "an entry put after the last",
        (_ENTRY.format(seq="%(last)s + 1", of="%(last)s"),),
        after_last,
    ),
    Damage(
        "the head moved back",
        ("update ledger_head set seq = seq - 1 where org_id = %(org)s",),
        lambda story: story.last,
    ),
    *(
        Damage(
            f"ledger_head.{column}",
            (f"update ledger_head set {column} = {value} where org_id = %(org)s",),
            after_last,
        )
        for column, value in (
            ("hash", BYTES.format(c="hash")),
            ("at", "at + interval '1 microsecond'"),
        )
    ),
]

DAMAGES = [*CHANGES, *EMPTIED, *MOVES]


async def rewrite(connection: Connection, story: Story, seq: int, **changes: object) -> None:
    """Change an entry and give it the hash that is right for it now."""
    (entry,) = await ledger.entries(transaction(connection, story.org_id), after=seq - 1, limit=1)
    changed = replace(entry, **changes)
    await connection.execute(
        "update ledger_entry set reason = %s, item_count = %s, hash = %s "
        "where org_id = %s and seq = %s",
        [changed.reason, changed.item_count, entry_hash(changed), story.org_id, seq],
    )
