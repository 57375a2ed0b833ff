"""tools/verify_ledger.py: a second opinion that shares no code with the first."""

import ast
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from conftest import NOCALL, clean_environment, run_nocall
from ledger.conftest import Connection, Story, transaction
from ledger.damage import DAMAGES, Damage, rewrite
from nocall import ledger
from nocall.errors import LedgerBroken
from nocall.model import Kind

TOOL = Path(__file__).parents[2] / "tools" / "verify_ledger.py"


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_ledger", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL_MODULE = load_tool()


def complaint(lines: list[bytes], head: str | None = None) -> str | None:
    """What the tool says is wrong with an export of these lines; None when all is right."""
    try:
        TOOL_MODULE.verify(lines, TOOL_MODULE.head(head) if head else None)
    except TOOL_MODULE.Bad as bad:
        return str(bad)
    return None


def run_tool(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """In an interpreter that sees the standard library and nothing else."""
    return subprocess.run(
        [sys.executable, "-I", "-S", TOOL, *arguments],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


async def lines_of(connection: Connection, org_id: str) -> list[bytes]:
    lines = ledger.export_lines(transaction(connection, org_id))
    return [line.encode() + b"\n" async for line in lines]


@pytest.fixture
async def export(owner: Connection, story: Story) -> list[bytes]:
    return await lines_of(owner, story.org_id)


@pytest.fixture
def file(tmp_path: Path, service, story: Story) -> Path:
    target = tmp_path / "ledger.jsonl"
    run_nocall("ledger", "export", str(target), "--org", story.org_id, data=service.data)
    return target


def test_it_is_short_and_stands_alone():
    text = TOOL.read_text("utf-8")
    assert len(text.splitlines()) <= 150
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert imported <= set(sys.stdlib_module_names)


def test_an_honest_export(file, story):
    done = run_tool(str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"OK {story.last} entries, 11 items, head {story.head}\n"
    assert run_tool(str(file), "--expect-head", story.head).returncode == 0


def test_an_export_piped_into_it(service, story):
    with subprocess.Popen(
        [NOCALL, "ledger", "export", "-", "--org", story.org_id],
        env=clean_environment(NOCALL_DATA=str(service.data)),
        stdout=subprocess.PIPE,
    ) as exporting:
        done = run_tool("-", "--expect-head", story.head, stdin=exporting.stdout)
    assert (exporting.returncode, done.returncode, done.stdout[:3]) == (0, 0, "OK ")


def test_a_damaged_export_is_one_line_and_exit_1(file, story):
    seq = story.seq["delete"]
    file.write_text(file.read_text("utf-8").replace('"typo"', '"typx"'), "utf-8")
    done = run_tool(str(file))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"BAD seq {seq}: the entry was changed\n"


def test_a_file_that_is_not_there_is_one_line_and_exit_1(tmp_path):
    done = run_tool(str(tmp_path / "none"))
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (1, "", 1)
    assert "No such file" in done.stdout


def test_a_head_that_is_none_is_a_usage_error(file):
    assert run_tool(str(file), "--expect-head", "5").returncode == 2


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
async def test_it_agrees_with_the_built_in_verify(owner, story, damage: Damage):
    """On the same rows, damaged in the same way, both name the same seq."""
    await damage.do(owner, story)
    with pytest.raises(LedgerBroken) as broken:
        await ledger.verify(transaction(owner, story.org_id))
    said = complaint(await lines_of(owner, story.org_id))
    assert said is not None
    assert said.startswith(f"seq {broken.value.seq}: ")


async def test_a_new_hash_hides_nothing(owner, story):
    await rewrite(owner, story, story.last, item_count=2)
    said = complaint(await lines_of(owner, story.org_id))
    assert said == f"seq {story.last}: the entry lacks items or has too many"
    seq = story.seq["delete"]
    await rewrite(owner, story, seq, reason="another")
    said = complaint(await lines_of(owner, story.org_id))
    assert said == f"seq {seq + 1}: the entry does not follow the entry before it"


async def test_a_gap_is_found(owner, story):
    tx = transaction(owner, story.org_id)
    head = await ledger.lock_head(tx)
    await ledger.append(tx, replace(head, seq=head.seq + 1), Kind.ADD)
    said = complaint(await lines_of(owner, story.org_id))
    assert said.startswith(f"seq {story.last + 1}: the entry is missing")


async def test_time_running_backwards_is_found(owner, story):
    tx = transaction(owner, story.org_id)
    head = await ledger.lock_head(tx)
    await ledger.append(tx, replace(head, next_at=head.next_at - timedelta(days=1)), Kind.ADD)
    said = complaint(await lines_of(owner, story.org_id))
    assert said == f"seq {story.last + 1}: the entry is earlier than the one before it"


def test_every_byte_counts(export):
    """A bit flipped anywhere, in a name, a value or a line's end, is found."""
    whole = b"".join(export)
    unnoticed = []
    for place, byte in enumerate(whole):
        damaged = whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :]
        if complaint(damaged.splitlines(keepends=True)) is None:
            unnoticed.append((place, whole[max(0, place - 20) : place + 20]))
    assert unnoticed == []


def test_a_line_removed_repeated_or_swapped(export):
    for n in range(1, len(export)):
        assert complaint(export[:n] + export[n + 1 :]).startswith(f"seq {n}: "), n
        repeated = [*export[: n + 1], *export[n:]]
        assert complaint(repeated).startswith(f"seq {n + 1}: "), n
    for n in range(1, len(export) - 1):
        swapped = [*export[:n], export[n + 1], export[n], *export[n + 2 :]]
        assert complaint(swapped).startswith(f"seq {n}: "), n


def test_a_tail_cut_off_with_its_head(export, story):
    """Only a head kept elsewhere tells."""
    keep = story.seq["bulk"]
    last = json.loads(export[keep])
    header = json.loads(export[0])
    header["head"] = {key: last[key] for key in ("seq", "hash", "at")}
    shorter = [line(header), *export[1 : keep + 1]]
    assert complaint(shorter) is None
    assert complaint(shorter, story.head).startswith(f"seq {keep + 1}: the ledger ends here")
    other = f"{keep}:{'0' * 64}"
    assert complaint(shorter, other).startswith(f"seq {keep}: the entry is not the one")


def line(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def test_another_way_to_write_the_same_is_refused(export):
    """So that no two files with one verdict differ in a byte."""
    entry = json.loads(export[3])
    for same in (
        json.dumps(entry).encode() + b"\n",
        line(dict(reversed(entry.items()))),
        export[3].replace(b'"seq":3', b'"seq":3,"seq":3'),
        export[3].replace(b'"seq":3', b'"seq":3.0'),
        export[3].replace(b'"position":0', b'"position":-0'),
        line({**entry, "hash": entry["hash"].upper()}),
        line({**entry, "more": None}),
        export[3] + b"\n",
        b"\xef\xbb\xbf" + export[3],
    ):
        damaged = b"".join([*export[:3], same, *export[4:]]).splitlines(keepends=True)
        assert (complaint(damaged) or "").startswith(("seq 3: ", "seq 4: ")), same


def test_a_hash_in_capitals_is_refused(export, story):
    seq = story.seq["evidence_attached"]
    entry = json.loads(export[seq])
    item = entry["items"][0]
    item["transcriptSha256"] = item["transcriptSha256"].upper()
    assert complaint([*export[:seq], line(entry), *export[seq + 1 :]]).startswith(f"seq {seq}: ")


@pytest.mark.parametrize(
    "name", ["seq", "at", "kind", "detail", "itemCount", "itemsDigest", "previousHash", "items"]
)
@pytest.mark.parametrize("value", [None, True, [], {}, "", "x", 1.5, -1, "\ud800", [1], [{}]])
def test_any_other_value_is_bad_and_never_a_traceback(export, name, value):
    entry = json.loads(export[3])
    damaged = json.dumps({**entry, name: value}, separators=(",", ":")).encode() + b"\n"
    assert complaint([*export[:3], damaged, *export[4:]]).startswith("seq 3: ")
    item = json.dumps({**entry, "items": [{**entry["items"][0], "number": value}]}).encode()
    assert complaint([*export[:3], item + b"\n", *export[4:]]).startswith("seq 3: ")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"[]\n",
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        line({"format": "nocall-ledger-1"}),
    ],
)
def test_a_file_that_is_no_export(header):
    assert complaint([header]).startswith("header: ")


@pytest.mark.parametrize("key", ["seq", "hash", "at"])
@pytest.mark.parametrize("value", [None, True, 3, "3", "0" * 64, []])
def test_a_head_that_fits_no_entry(export, key, value):
    header = json.loads(export[0])
    header["head"][key] = value
    said = complaint([line(header), *export[1:]])
    assert said.startswith(("header: ", "seq "))


def test_a_ledger_of_another_organization(export, story):
    header = json.loads(export[0])
    header["orgId"] = story.other_org_id
    assert complaint([line(header), *export[1:]]) == "seq 1: the entry was changed"
