"""The mirror answers at exactly the seq that the database said, or not at all."""

import numpy as np

from nocall.gate.mirror import Mirror


def _rows(head: int, *changes: tuple[int, str, int | None]) -> list[list[bytes | None]]:
    """An answer to FORWARD: the head's seq on each row, then seq, kind and number of an item."""
    start = [str(head).encode(), b"t", b"0"]
    if not changes:
        return [[*start, None, None, None]]
    return [
        [*start, str(seq).encode(), kind.encode(), None if n is None else str(n).encode()]
        for seq, kind, n in changes
    ]


def _mirror(seq: int, *numbers: int) -> Mirror:
    return Mirror(seq, np.array(sorted(numbers), dtype=np.int64))


def test_it_stands_where_the_head_stands():
    mirror = _mirror(3, 12125550101, 12125550102)
    assert mirror.bring_forward(_rows(3))
    assert sorted(mirror.listed_among([12125550102, 12125550109])) == [12125550102]


def test_it_is_brought_forward_by_what_happened_since():
    mirror = _mirror(3, 12125550101)
    happened = _rows(
        7,
        (4, "add", 12125550102),
        (5, "delete", 12125550101),
        (6, "switched_off", None),
        (7, "add_repeated", 12125550102),
    )
    assert mirror.bring_forward(happened)
    assert mirror.seq == 7
    assert mirror.listed_among([12125550101, 12125550102]) == [12125550102]


def test_a_number_deleted_and_added_again_is_listed():
    mirror = _mirror(1, 12125550101)
    mirror.bring_forward(_rows(3, (2, "delete", 12125550101), (3, "add", 12125550101)))
    assert mirror.listed_among([12125550101]) == [12125550101]
    mirror.bring_forward(_rows(4, (4, "delete", 12125550101)))
    assert mirror.listed_among([12125550101]) == []


def test_an_answer_older_than_the_mirror_is_refused():
    """Two answers that overtook each other: the mirror is past what the older one speaks of."""
    mirror = _mirror(3)
    assert mirror.bring_forward(_rows(5, (4, "add", 12125550101), (5, "add", 12125550102)))
    assert not mirror.bring_forward(_rows(4, (4, "add", 12125550101)))


def test_an_answer_seen_twice_changes_nothing():
    mirror = _mirror(3)
    rows = _rows(5, (4, "add", 12125550101), (5, "delete", 12125550101))
    assert mirror.bring_forward(rows)
    assert mirror.bring_forward(rows)
    assert mirror.listed_among([12125550101]) == []


def test_a_gap_is_refused():
    """Entries that the answer should hold and does not."""
    assert not _mirror(3).bring_forward(_rows(6, (4, "add", 12125550101)))


def test_an_organization_that_is_gone_is_refused():
    assert not _mirror(3).bring_forward([])


def test_an_empty_list():
    assert _mirror(0).listed_among([12125550101]) == []
    assert _mirror(0, 12125550101).listed_among([]) == []


def _adds(first: int, last: int) -> list[list[bytes | None]]:
    return _rows(last, *((seq, "add", 12_000_000_000 + seq) for seq in range(first, last + 1)))


def test_it_wears_out():
    """After so many changes a fresh copy is cheaper than carrying them on."""
    mirror = _mirror(0)
    assert mirror.bring_forward(_adds(1, 15_000))
    assert not mirror.is_worn
    assert mirror.bring_forward(_adds(15_001, 25_000))
    assert mirror.is_worn


def test_an_answer_cut_off_at_its_limit_is_refused():
    """It may end inside an entry, and then stand at the head's seq without all of its numbers."""
    mirror = _mirror(0)
    assert not mirror.bring_forward(_adds(1, 20_001))
    assert mirror.seq == 0
