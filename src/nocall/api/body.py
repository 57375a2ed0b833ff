"""Reading bodies and headers strictly: what is not plainly meant is refused with its place."""

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from litestar import Request

from nocall.errors import BodyMalformed, FieldInvalid, FieldMissing

T = TypeVar("T")
_POSITION = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r"^(?P<why>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+?)`")
_HIGH, _LOW = r"u[dD][89abAB][0-9a-fA-F]{2}", r"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf"\\(?:{_HIGH}\\{_LOW}|(?P<half>{_HIGH}|{_LOW})|.)")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def decode(body: bytes, kind: type[T]) -> T:
    """`body` as `kind`. Raises `BodyMalformed` with the position for what is no strict JSON (not
    UTF-8, a key twice), `FieldMissing` and `FieldInvalid` for what does not fit `kind`.
    """
    if not body.strip():
        raise BodyMalformed("the body is empty, a JSON object is needed")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyMalformed(f"the body is not UTF-8 at byte {error.start}") from None
    try:
        value = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        _refuse_field(str(error), text)
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse_syntax(str(error), text)
    # One colon outside strings means one key at most; only then can no key stand twice.
    if body.count(b":") > 1:
        _refuse_repeated_keys(text)
    return value


async def read(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """The request's body as `kind`; raises what `decode` raises."""
    return decode(await request.body(), kind)


def header_text(request: Request[Any, Any, Any], name: str) -> str | None:
    """A header as the UTF-8 text it was written in. Raises `FieldInvalid`."""
    value = request.headers.get(name)
    if value is None:
        return None
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise FieldInvalid(name, "is not UTF-8") from None


def whole_number(
    request: Request[Any, Any, Any], name: str, default: int, low: int, high: int
) -> int:
    """A query parameter that is a whole number from `low` to `high`. Raises `FieldInvalid`."""
    text = query_text(request, name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
        raise FieldInvalid(name, f"must be a whole number from {low} to {high}", text)
    return int(text)


def query_text(request: Request[Any, Any, Any], name: str) -> str | None:
    """A query parameter that may stand once. Raises `FieldInvalid`."""
    values = request.query_params.getall(name, [])
    if len(values) > 1:
        raise FieldInvalid(name, f"stands {len(values)} times in the query, once is allowed")
    return values[0] if values else None


def _refuse_syntax(message: str, text: str) -> NoReturn:
    _require_json(text)
    # Python reads half a surrogate pair; it is no text, and cannot be stored.
    for escape in _ESCAPE.finditer(text):
        if escape["half"]:
            raise BodyMalformed(f"not JSON: half a surrogate pair (position {escape.start()})")
    place = _POSITION.search(message)
    raise BodyMalformed(f"not JSON: {message}" + ("" if place else " (position unknown)"))


def _require_json(text: str) -> None:
    """Raises `BodyMalformed` with line, column and position for what Python cannot read either."""
    try:
        json.loads(text, parse_int=str)
    except json.JSONDecodeError as error:
        raise BodyMalformed(
            f"not JSON: {error.msg} at line {error.lineno} column {error.colno} "
            f"(position {error.pos})"
        ) from None
    except RecursionError:
        raise BodyMalformed("the body is nested too deeply") from None


def _refuse_field(message: str, text: str) -> NoReturn:
    # The reader stops at the first field that is wrong, and has not seen what comes after it.
    _require_json(text)
    match = _PATH.match(message)
    why, path = (match["why"], match["path"] or "$") if match else (message, "$")
    inside = _field_name(path)
    missing = _MISSING.match(why)
    if missing:
        raise FieldMissing(f"{inside}.{missing[1]}" if inside else missing[1])
    if not inside:
        raise BodyMalformed(f"the body must be a JSON object: {why}")
    raise FieldInvalid(inside, why[:1].lower() + why[1:], _value_at(path, text))


def _field_name(path: str) -> str:
    return path.removeprefix("$").removeprefix(".")


def _value_at(path: str, text: str) -> object:
    """The value that was refused, to be shown; None where it cannot be reached."""
    try:
        value: Any = json.loads(text)
        for name, index in _STEP.findall(path):
            if index == "...":
                return None
            value = value[name] if name else value[int(index)]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return value


def _refuse_repeated_keys(text: str) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FieldInvalid(twice, "stands twice in the body")
        return found

    try:
        # Only the keys matter here; a number may be too long for Python to make one of it.
        json.loads(text, object_pairs_hook=unique, parse_int=str, parse_float=str)
    except RecursionError:
        raise BodyMalformed("the body is nested too deeply") from None
