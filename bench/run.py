"""`make bench`: the figures of the service beside its peers, on this machine, in one table."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import table
from machine import facts
from measure import SECTIONS
from stage import Sizes, Stage

_QUICK = Sizes(listed=50_000, orgs=10, listed_each=1_000, peer_listed=50_000)
_NEED_CEILING = {"ceiling", "check"}
_NEED_PEER = {"peer", "check", "bulk"}
_NEED_NOCALL = {"check", "bulk", "write", "list", "search"}


def main(arguments: Sequence[str]) -> None:
    options = _parse(arguments)
    # The peer alone is part of the others; it is there to be asked for.
    sections = options.only or [name for name in SECTIONS if name != "peer"]
    sizes = _QUICK if options.quick else Sizes(peer_listed=options.peer_numbers)
    seconds = options.seconds or (1.0 if options.quick else 5.0)
    rounds = 1 if options.quick else 3
    rows: list[table.Row] = []
    with _folder(options.folder) as folder, Stage(folder, sizes, seconds, rounds) as stage:
        print("\n".join(facts(folder)), flush=True)
        print(f"rounds    {rounds} of {seconds:g} s, interleaved; figures are medians", flush=True)
        for needed, start in (
            (_NEED_CEILING, stage.start_ceiling),
            (_NEED_PEER, stage.start_peer),
            (_NEED_NOCALL, stage.start_nocall),
        ):
            if needed & set(sections):
                _tell(start.__name__.replace("_", " "))
                start()
        if stage.owner_url:
            print(f"database  {stage.database_version()}", flush=True)
        for name in sections:
            _tell(f"measure {name}")
            rows += SECTIONS[name](stage)
    _tell("done")
    print()
    print("\n".join(table.lines(rows)))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="length of a measurement (default 5)")
    parser.add_argument(
        "--only", action="append", choices=list(SECTIONS), help="only this part; may be repeated"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small lists, 1 s, one round: to see that it runs"
    )
    parser.add_argument(
        "--peer-numbers", type=int, default=1_000_000, help="numbers in the peer's set"
    )
    parser.add_argument(
        "--folder", type=Path, help="keep the filled data folder here, and use it again next time"
    )
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="nocall-bench-") as name:
        folder = Path(name)
        # The embedded PostgreSQL of root runs under another account, which must get through.
        folder.chmod(0o711)
        yield folder


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
