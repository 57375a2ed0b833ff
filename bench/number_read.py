"""Nanoseconds to read one number: from the tables, through phonenumbers, and phonenumbers alone.

    python bench/number_read.py

Every figure is the median of the rounds, which take turns, with the fastest and the slowest.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable

import phonenumbers

from nocall.number import prepare, read, reading
from nocall.number.nanp import ABROAD, AT_HOME, BLOCK, NOT_POSSIBLE, VALID

ROUNDS = 9
FAST = 20_000
SLOW = 500
BULK = 1_000

Texts = list[tuple[str, str]]


def north_american(source: random.Random, count: int, *, single: bool | None = None) -> list[int]:
    """Valid numbers of ten digits; `single` chooses those with one possible reading, or two."""
    numbers: list[int] = []
    while len(numbers) < count:
        number = source.randrange(2_000_000_000, 10_000_000_000)
        abroad = ABROAD[number // BLOCK]
        if AT_HOME[number // BLOCK] == VALID and single in (None, abroad == NOT_POSSIBLE):
            numbers.append(number)
    return numbers


def of_all_regions(source: random.Random, count: int) -> Texts:
    """E.164 digits near each region's example number, and the region."""
    found: Texts = []
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    while len(found) < count:
        region = source.choice(regions)
        parsed = phonenumbers.example_number(region)
        if parsed is None or parsed.country_code == 1:
            continue
        national = phonenumbers.national_significant_number(parsed)[:-3]
        found.append((f"{parsed.country_code}{national}{source.randrange(1000):03}", region))
    return found


def read_uncached(text: str, region: str) -> object:
    """The slow way without what it remembers."""
    return reading._ask.__wrapped__(text, region)  # noqa: SLF001 - the cache is what must not count


def phonenumbers_alone(text: str, region: str) -> object:
    parsed = phonenumbers.parse(text, region)
    return phonenumbers.is_possible_number(parsed), phonenumbers.is_valid_number(parsed)


def nanoseconds(verb: Callable[[str, str], object], texts: Texts) -> float:
    started = time.perf_counter_ns()
    for text, region in texts:
        verb(text, region)
    return (time.perf_counter_ns() - started) / len(texts)


def main() -> None:
    source = random.Random(1)
    before = phonenumbers_cold(source)
    started = time.perf_counter()
    prepare()
    ready = time.perf_counter() - started
    numbers = north_american(source, FAST)
    plain: Texts = [(f"1{number}", "US") for number in numbers]
    world = of_all_regions(source, SLOW)
    cases: list[tuple[str, Callable[[str, str], object], Texts]] = [
        ("read 1NXXNXXXXXX, home US", read, plain),
        (f"read 1NXXNXXXXXX, home US, {BULK} again and again", read, plain[:BULK] * 20),
        ("read +1NXXNXXXXXX, home US", read, [(f"+1{number}", "US") for number in numbers]),
        ("read +1NXXNXXXXXX, home DE", read, [(f"+1{number}", "DE") for number in numbers]),
        (
            "read NXXNXXXXXX, home US, one reading",
            read,
            [(str(number), "US") for number in north_american(source, FAST, single=True)],
        ),
        (
            "read NXXNXXXXXX, home US, two readings",
            read,
            [(str(number), "US") for number in north_american(source, FAST, single=False)],
        ),
        (
            "read (NXX) NXX-XXXX, home US",
            read,
            [(f"({str(n)[:3]}) {str(n)[3:6]}-{str(n)[6:]}", "US") for n in numbers],
        ),
        ("slow path 1NXXNXXXXXX, home US", read_uncached, plain[:SLOW]),
        ("slow path +<all regions>", read_uncached, [(f"+{text}", home) for text, home in world]),
        ("slow path <all regions>, each at home", read_uncached, world),
        ("slow path, remembered", read, world * 20),
        ("phonenumbers 1NXXNXXXXXX", phonenumbers_alone, plain[:SLOW]),
        ("phonenumbers +<all regions>", phonenumbers_alone, [(f"+{t}", h) for t, h in world]),
    ]
    rounds: dict[str, list[float]] = {name: [] for name, _, _ in cases}
    gc.disable()
    for _ in range(ROUNDS):
        for name, verb, texts in cases:
            rounds[name].append(nanoseconds(verb, texts))
    print(f"phonenumbers {phonenumbers.__version__}; tables ready after {ready * 1e3:.0f} ms")
    print(f"{'ns a number':45} {'median':>10} {'fastest':>10} {'slowest':>10}")
    for name, found in rounds.items():
        print(f"{name:45} {statistics.median(found):10.0f} {min(found):10.0f} {max(found):10.0f}")
    print(f"{'phonenumbers +<all regions>, as it comes':45} {before:10.0f}")


def phonenumbers_cold(source: random.Random) -> float:
    """Before `prepare` has told phonenumbers to keep its patterns; the second of two rounds."""
    world = [(f"+{text}", home) for text, home in of_all_regions(source, SLOW)]
    nanoseconds(phonenumbers_alone, world)
    return nanoseconds(phonenumbers_alone, world)


if __name__ == "__main__":
    main()
