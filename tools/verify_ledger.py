"""Check an export of a nocall ledger without nocall: `python verify_ledger.py FILE`.

FILE is what `nocall ledger export FILE` wrote, or - for standard input. Everything is computed
anew from the fields, as docs/ledger.md lays out their bytes. Prints one line and exits 0 where
all of it is right, 1 where it is not; then the line names the first bad seq.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable

FORMAT = "nocall-ledger-1"
VERSION = b"\x01"
FIRST_PREVIOUS_HASH = bytes(32).hex()
HEADER_KEYS = ["format", "orgId", "head", "firstPreviousHash"]
HEAD_KEYS = ["seq", "hash", "at"]
TEXT_KEYS = ["at", "kind", "actorKind", "actorId", "actorName", "source", "reason", "detail"]
ENTRY_KEYS = ["seq", *TEXT_KEYS, "itemCount", "itemsDigest", "previousHash", "hash", "items"]
ITEM_TEXT_KEYS = ["number", "recordId", "type", "reason", "batchId", "requestUUID"]
ITEM_HASH_KEYS = ["recordingSha256", "transcriptSha256"]
UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError)


class Bad(Exception):
    """What is wrong, and where."""


def field(value: str | bytes | None) -> bytes:
    """Length in four bytes, then the bytes; an absent value has the length 0xffffffff."""
    if value is None:
        return b"\xff\xff\xff\xff"
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def unhex(text: str | None) -> bytes | None:
    if text is not None and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("a hash is not 64 lower-case hex digits")
    return None if text is None else bytes.fromhex(text)


def items_digest(items: list) -> str:
    digest = hashlib.sha256()
    for item in items:
        if list(item) != ["position", *ITEM_TEXT_KEYS, *ITEM_HASH_KEYS]:
            raise ValueError("an item has other fields")
        digest.update(field(str(item["position"])))
        digest.update(b"".join(field(item[key]) for key in ITEM_TEXT_KEYS))
        digest.update(b"".join(field(unhex(item[key])) for key in ITEM_HASH_KEYS))
    return digest.hexdigest()


def entry_hash(org_id: str, entry: dict) -> str:
    digest = hashlib.sha256(VERSION + field(org_id) + field(str(entry["seq"])))
    for key in TEXT_KEYS:
        digest.update(field(entry[key]))
    digest.update(field(str(entry["itemCount"])))
    digest.update(field(unhex(entry["itemsDigest"])) + field(unhex(entry["previousHash"])))
    return digest.hexdigest()


def parse(line: bytes, keys: list[str]) -> dict:
    """A line's object, if it is written exactly as an export writes it."""
    text = line.decode().removesuffix("\n")
    document = json.loads(text)
    if json.dumps(document, ensure_ascii=False, separators=(",", ":")) != text:
        raise ValueError("the line is not written as an export writes it")
    if not isinstance(document, dict) or list(document) != keys:
        raise ValueError("the line has other fields")
    return document


def parse_header(line: bytes) -> tuple[str, dict]:
    header = parse(line, HEADER_KEYS)
    if header["format"] != FORMAT or header["firstPreviousHash"] != FIRST_PREVIOUS_HASH:
        raise ValueError("it is of another format")
    if list(header["head"]) != HEAD_KEYS or type(header["head"]["seq"]) is not int:
        raise ValueError("the head has other fields")
    return header["orgId"], header["head"]


def check_entry(org_id: str, entry: dict, previous: dict) -> None:
    expected = previous["seq"] + 1
    if entry["seq"] != expected:
        raise Bad(f"seq {expected}: the entry is missing, {entry['seq']} stands in its place")
    for wrong, what in (
        (entry["previousHash"] != previous["hash"], "does not follow the entry before it"),
        (entry["itemCount"] != len(entry["items"]), "lacks items or has too many"),
        (entry["itemsDigest"] != items_digest(entry["items"]), "has an item that was changed"),
        (entry["hash"] != entry_hash(org_id, entry), "was changed"),
        (entry["at"] < previous["at"], "is earlier than the one before it"),
    ):
        if wrong:
            raise Bad(f"seq {expected}: the entry {what}")


def verify(lines: Iterable[bytes], expected: tuple[int, str] | None = None) -> str:
    """One sentence on a ledger that is right. Raises `Bad`."""
    lines = iter(lines)
    try:
        org_id, top = parse_header(next(lines, b""))
    except UNREADABLE as error:
        raise Bad(f"header: it cannot be read: {error}") from None
    last = {"seq": 0, "hash": FIRST_PREVIOUS_HASH, "at": ""}
    item_count = 0
    for line in lines:
        seq = last["seq"] + 1
        try:
            entry = parse(line, ENTRY_KEYS)
            check_entry(org_id, entry, last)
        except UNREADABLE as error:
            raise Bad(f"seq {seq}: the entry cannot be read: {error}") from None
        if expected and expected[0] == seq and expected[1] != entry["hash"]:
            raise Bad(f"seq {seq}: the entry is not the one of the expected head")
        last = {key: entry[key] for key in HEAD_KEYS}
        item_count += entry["itemCount"]
    if top != last:
        first = min(top["seq"], last["seq"]) + 1
        raise Bad(f"seq {first}: the head is at {top['seq']}, the last entry is {last['seq']}")
    if expected and expected[0] > last["seq"]:
        raise Bad(f"seq {last['seq'] + 1}: the ledger ends here, it once reached {expected[0]}")
    return f"{last['seq']} entries, {item_count} items, head {last['seq']}:{last['hash']}"


def head(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError("must be SEQ:HASH, as nocall ledger verify prints it")
    return int(match[1]), match[2]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an export of a nocall ledger.")
    parser.add_argument("file", help="what nocall ledger export wrote; - for standard input")
    parser.add_argument("--expect-head", type=head, metavar="SEQ:HASH", help="a head kept before")
    options = parser.parse_args()
    try:
        with sys.stdin.buffer if options.file == "-" else open(options.file, "rb") as lines:  # noqa: PTH123 - one of two
            print("OK", verify(lines, options.expect_head))
    except (Bad, OSError) as error:
        print("BAD", " ".join(str(error).split()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
