"""How a number is written: what can be told from a text before phonenumbers reads it.

phonenumbers is lenient. It takes the first of two numbers for a number with an extension, runs two
numbers with a slash between them into one, and leaves out what stands around a `tel:` address.
Whoever asks whether a number may be called needs to know that there is another one in the text.
"""

import re

import msgspec
import phonenumbers

LONGEST_TEXT = 100
"""Characters. phonenumbers takes 250, and up to 50 ms for one such text."""
_LONGEST_SHORT = 15
"""Digits, with an international prefix and a country code before a service code."""
_PARTS_AT_MOST = 4
"""Whatever has more is no one number, and asking about each would take its time."""
_LONG_ENOUGH = 7
"""Digits that nobody has as an extension after a comma or a slash."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PLUS = ("+", "\uff0b")
_GAP = re.compile(r"[\W_]{16}")
"""Inside a text; phonenumbers' time grows with the square of it, and no number is written so."""
_FIRST = re.compile(r"[+\uff0b\d]")
_SCHEME = "tel:"
_CONTEXT = ";phone-context="
_PARAMETER = re.compile(r"[A-Za-z][\w-]*(?:=.*)?")

_EXTENSION_WORD = r"(?:e?xt(?:ensi(?:o\u0301?|ó)n?|n)?|int|доб|anexo)"
_SHORT = re.compile(
    r"[^\d+\uff0b]*[+\uff0b]?(?P<digits>[^\w,;#~/\\+]*\d(?:[^\w,;#~/\\+]*\d)*)"
    rf"(?:\s*(?:;ext=|[,;]+|[#x~]|{_EXTENSION_WORD})[\s.:,-]*\d{{1,20}})?\D*",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"[/\\|&]|(?<!,),(?!,)|;(?=\s*[+\uff0b(]?\s*\d)|\s(?:or|and|oder|und|ou|et|y)\s", re.IGNORECASE
)
_EXTENSION = re.compile(rf"\W*{_EXTENSION_WORD}\b", re.IGNORECASE)


class Written(msgspec.Struct, frozen=True, gc=False):
    international: bool
    """Whether the text says that it begins with a country code."""
    with_plus: str
    """The text as it would be written with a `+`."""
    short_digits: str
    """The digits, where they are so few that they could name a service; otherwise empty."""


def refusal(text: str) -> str | None:
    """The reason code where the text cannot be one number, whatever phonenumbers makes of it."""
    if not text or text.isspace():
        return "empty"
    if _CONTROL.search(text) or _GAP.search(text.strip()) or not _is_whole_address(text):
        return "not_a_number"
    return None


def look_at(text: str) -> Written:
    head, context, tail = text.partition(_CONTEXT)
    if not context:
        first = _FIRST.search(text)
        if first is None:
            return Written(False, text, "")
        international = first.group() in _PLUS
        at = first.start()
        with_plus = text if international else f"{text[:at]}+{text[at:]}"
        return Written(international, with_plus, _short_digits(text))
    lead, scheme, number = head.rpartition(_SCHEME)
    if tail.startswith("+"):
        prefix = tail.partition(";")[0]
        return Written(True, text, _short_digits(prefix + number))
    international = number[:1] in _PLUS
    with_plus = text if international else f"{lead}{scheme}+{number}{context}{tail}"
    return Written(international, with_plus, _short_digits(number))


def holds_several(text: str, region: str) -> bool:
    """Whether at least two of the parts between commas, slashes and the like are numbers alone."""
    parts = _BETWEEN.split(text.partition(_CONTEXT)[0])
    if len(parts) > _PARTS_AT_MOST:
        return True
    return len(parts) > 1 and sum(_stands_alone(part, region) for part in parts) > 1


def _is_whole_address(text: str) -> bool:
    """Whether nothing of a `tel:` address with a context is left out when it is read."""
    head, context, tail = text.partition(_CONTEXT)
    if not context:
        return True
    lead = head.rpartition(_SCHEME)[0]
    return (
        _FIRST.search(lead) is None
        and _SCHEME not in tail
        and all(map(_PARAMETER.fullmatch, tail.split(";")[1:]))
    )


def _short_digits(text: str) -> str:
    found = _SHORT.fullmatch(text)
    if found is None:
        return ""
    digits = "".join(str(int(sign)) for sign in found["digits"] if sign.isdecimal())
    return digits if 1 < len(digits) <= _LONGEST_SHORT else ""


def _stands_alone(part: str, region: str) -> bool:
    digits = sum(map(str.isdecimal, part))
    if digits < 2 or _EXTENSION.match(part):
        return False
    if digits >= _LONG_ENOUGH:
        return True
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(part, region))
    except phonenumbers.NumberParseException:
        return False
