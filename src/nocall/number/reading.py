"""Text to numbers: every number that a text can mean, and none that it cannot."""

import functools
import re

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, ValidationResult

from nocall.number import nanp, plan, written
from nocall.number.nanp import ABROAD, ASK, AT_HOME, BLOCK, HOMES, NOT_POSSIBLE, VALID
from nocall.number.service_code import (
    is_emergency_code,
    is_international_service_code,
    is_service_code,
)

_LONGEST_NUMBER = 15
"""Digits of an E.164 number. Some plans list longer ones; no network carries them abroad."""
_COUNTRY_1 = 10_000_000_000
"""The country code 1 before ten digits."""
_BLOCKS_OF_1 = _COUNTRY_1 // BLOCK
_ROUNDS_AT_MOST = 20
_CACHED_TEXTS = 16_384
_DOUBLE_ZERO = re.compile(r"^(\D*)0\D*0")

_PUNCTUATION = " -.()\u00a0"
"""Signs that phonenumbers drops wherever they stand, so that the plain digits read the same."""

_PARSE_PROBLEMS = {
    NumberParseException.INVALID_COUNTRY_CODE: "unknown_country_code",
    NumberParseException.NOT_A_NUMBER: "not_a_number",
    NumberParseException.TOO_SHORT_AFTER_IDD: "too_short",
    NumberParseException.TOO_SHORT_NSN: "too_short",
    NumberParseException.TOO_LONG: "too_long",
}
_LENGTH_PROBLEMS = {
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "local_only",
    ValidationResult.INVALID_COUNTRY_CODE: "unknown_country_code",
    ValidationResult.TOO_SHORT: "too_short",
    ValidationResult.INVALID_LENGTH: "wrong_length",
    ValidationResult.TOO_LONG: "too_long",
}


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One number that a text can mean."""

    number: int
    """The E.164 digits."""
    valid: bool
    """Whether the numbering plan knows the number; a possible number may still be unassigned."""


class Readings(msgspec.Struct, frozen=True, gc=False):
    """What a text can mean."""

    readings: tuple[Reading, ...]
    """Every possible reading, the international one first; empty where there is none."""
    problem: str | None = None
    """Why there is none: `empty`, `not_a_number`, `too_short`, `too_long`, `wrong_length`,
    `local_only`, `unknown_country_code`, `several_numbers` or `service_code`."""
    service_code: bool = False
    """Whether the digits are those of an emergency or service number, which is never callable."""


@functools.cache
def prepare() -> None:
    """Make ready for fast reading; else the first text that needs it waits a tenth of a second."""
    nanp.load()
    # Without it Python's own cache of 512 patterns makes reading five times slower where regions
    # mix. Not every release has it.
    keep_patterns = getattr(phonenumbers, "enable_pattern_cache", None)
    if keep_patterns is not None:
        keep_patterns()


def read(text: str, region: str) -> Readings:
    """The readings of `text` in the home `region`.

    With `+` there is one. Without it the digits may begin with a country code, or be those that
    somebody in the region would dial; both readings are given where both are possible and differ.
    An extension is left out. Raises `ValueError` where the region matters and is not one.
    """
    size = len(text)
    if size == 12 and text[0] == "+":
        digits = text[1:]
    elif 10 <= size <= 11 and region in HOMES:
        digits = text
    else:
        digits = ""
    if digits.isascii() and digits.isdigit():
        number = int(digits)
        block = number // BLOCK - _BLOCKS_OF_1
        if block < 0:
            found = _ten_digits(number, digits)
            if found is not None:
                return found
        elif block < _BLOCKS_OF_1:
            state = AT_HOME[block]
            if state != ASK:
                return Readings((Reading(number, state == VALID),))
    return _read_slowly(text, region)


def _ten_digits(number: int, digits: str) -> Readings | None:
    """Ten digits in a region of the country code 1; None where the tables are not sure."""
    home = AT_HOME[number // BLOCK]
    abroad = ABROAD[number // BLOCK]
    if ASK in (home, abroad) or digits[0] == "0":
        return None
    at_home = Reading(number + _COUNTRY_1, home == VALID)
    if abroad == NOT_POSSIBLE:
        return Readings((at_home,))
    return Readings((Reading(number, abroad == VALID), at_home))


def _read_slowly(text: str, region: str) -> Readings:
    if len(text) > written.LONGEST_TEXT:
        return Readings((), "too_long")
    bare = text
    for sign in _PUNCTUATION:
        bare = bare.replace(sign, "")
    if len(bare) < len(text) and bare.removeprefix("+").isdigit():
        return read(bare, region)
    return _ask(text, region)


@functools.lru_cache(maxsize=_CACHED_TEXTS)
def _ask(text: str, region: str) -> Readings:
    """What phonenumbers says, with the cases taken out in which it says too little."""
    prepare()
    problem = written.refusal(text)
    if problem:
        return Readings((), problem)
    look = written.look_at(text)
    if not look.international and not is_region(region):
        raise ValueError(f"not a region: {region!r}")
    forms = [(text, region)] if look.international else _bare_forms(text, look.with_plus, region)
    answers = [_reading_of(form, home) for form, home in forms]
    found = tuple(dict.fromkeys(answer for answer in answers if isinstance(answer, Reading)))
    if _names_service(look, found, region) or ("service_code" in answers and not found):
        return Readings((), "service_code", service_code=True)
    if written.holds_several(text, region):
        return Readings((), "several_numbers")
    # Of two reasons that of the home region is the one to act on.
    return Readings(found, None if found else str(answers[-1]))


def _bare_forms(text: str, with_plus: str, region: str) -> list[tuple[str, str | None]]:
    """How a text without `+` may be meant: after a `+`, and as somebody in the region dials it."""
    forms: list[tuple[str, str | None]] = [(with_plus, None), (text, region)]
    prefix = plan.metadata_of(phonenumbers.country_code_for_region(region), region)
    # In Hong Kong 00 may be followed by a carrier's digit, which is also how many a country code
    # begins: `00 218 …` is Libya, and is read as the carrier 2 and +1 8….
    pattern = prefix.international_prefix
    if pattern and pattern != "00" and re.fullmatch(pattern, "00"):
        behind = _DOUBLE_ZERO.sub(r"\1+", text)
        if behind != text:
            forms.insert(1, (behind, None))
    return forms


def _names_service(look: written.Written, found: tuple[Reading, ...], region: str) -> bool:
    """Whether the digits as written are a service's.

    Letters may hide that they call for help: they make `911 (emergency)` a number in India. Other
    services give way to a number that the numbering plan knows.
    """
    digits = look.short_digits
    if not digits:
        return False
    if not look.international and is_emergency_code(digits, region):
        return True
    if any(reading.valid for reading in found):
        return False
    if not look.international:
        return is_service_code(digits, region)
    # `+911` is no number of any country; whoever wrote it meant the code.
    return is_international_service_code(digits) or (
        not found and is_region(region) and is_service_code(digits, region)
    )


def _reading_of(text: str, region: str | None, rounds: int = 0) -> Reading | str:
    """The number phonenumbers reads, or the reason code where it is not a possible one.

    The digits are read again until they stay: behind `+44 0020` a first reading drops one zero and
    leaves a number that a second reading, of the number as we print it, would change once more.
    """
    try:
        parsed = phonenumbers.parse(text, region)
    except NumberParseException as refused:
        return _PARSE_PROBLEMS[refused.error_type]
    problem = _LENGTH_PROBLEMS.get(phonenumbers.is_possible_number_with_reason(parsed))
    if problem:
        return problem
    digits = f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"
    if text != f"+{digits}":
        again = rounds < _ROUNDS_AT_MOST
        return _reading_of(f"+{digits}", None, rounds + 1) if again else "not_a_number"
    if len(digits) > _LONGEST_NUMBER:
        return "too_long"
    valid = phonenumbers.is_valid_number(parsed)
    # Reading may uncover a code, as by dropping the zero of `+49 (0)116117`.
    uncovered = not valid and is_international_service_code(digits)
    return "service_code" if uncovered else Reading(int(digits), valid)


def from_query(text: str) -> str:
    """A query parameter's text: what was sent as `+` arrives there as a blank."""
    return f"+{text[1:]}" if text.startswith(" ") else text


def is_region(code: str) -> bool:
    """Whether `code` is an ISO 3166 region whose numbering plan is known."""
    return code in phonenumbers.SUPPORTED_REGIONS


def number_text(number: int) -> str:
    """The number as the wire has it: digits without `+`."""
    return str(number)


def e164(number: int) -> str:
    """The number with its `+`."""
    return f"+{number}"


def metadata_version() -> str:
    """The release of the numbering plans: another one may read the same text differently."""
    return phonenumbers.__version__
