"""Numbers to list and to ask for, and the request bytes that carry them; the same every time."""

import json
import random
from collections.abc import Iterable, Sequence

# Area codes in use, so that the numbers are valid ones of the North American plan.
_AREAS = (
    *(201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224),
    *(301, 302, 303, 304, 305, 307, 308, 309, 310, 312, 313, 314, 315, 316, 317, 318, 319, 320),
    *(401, 402, 404, 405, 406, 407, 408, 409, 410, 412, 413, 414, 415, 417, 419, 501, 502, 503),
)
# Exchanges 200 to 999, less those of service codes (211, 311 and so on) and the fictional 555.
_EXCHANGES = tuple(code for code in range(200, 1000) if code % 100 != 11 and code != 555)
_SPACE = len(_AREAS) * len(_EXCHANGES) * 10_000


def numbers(seed: int, count: int) -> list[int]:
    """`count` different numbers in the form 1NXXNXXXXXX, in no order."""
    return [_number(index) for index in random.Random(seed).sample(range(_SPACE), count)]


def _number(index: int) -> int:
    rest, line = divmod(index, 10_000)
    area, exchange = divmod(rest, len(_EXCHANGES))
    return 10_000_000_000 + _AREAS[area] * 10_000_000 + _EXCHANGES[exchange] * 10_000 + line


def questions(seed: int, listed: Sequence[int], count: int, *, hit_share: float = 0.1) -> list[int]:
    """Numbers to check: about `hit_share` of them from `listed`, the others from anywhere."""
    chance = random.Random(seed)
    return [
        chance.choice(listed) if chance.random() < hit_share else _number(chance.randrange(_SPACE))
        for _ in range(count)
    ]


def get_request(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n{_headers(token)}\r\n".encode()


def delete_request(path: str, token: str) -> bytes:
    return f"DELETE {path} HTTP/1.1\r\n{_headers(token)}\r\n".encode()


def post_request(path: str, token: str, body: object) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\n{_headers(token)}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _headers(token: str) -> str:
    return f"Host: 127.0.0.1\r\nAccept: application/json\r\nAuthorization: Bearer {token}\r\n"


def check_requests(path: str, asked: Iterable[tuple[int, str]]) -> list[bytes]:
    """A single check for each number, with the token beside it."""
    return [get_request(f"{path}?phoneNumber={number}", token) for number, token in asked]


def bulk_requests(path: str, asked: Iterable[tuple[Sequence[int], str]]) -> list[bytes]:
    """One request for each run of numbers, written as the digits a client sends."""
    return [
        post_request(path, token, {"phoneNumbers": [str(number) for number in run]})
        for run, token in asked
    ]
