"""What every route needs, made once at start and passed down."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from nocall import org
from nocall.api.metrics import Metrics
from nocall.config import Settings
from nocall.errors import NotAuthenticated, RateExceeded
from nocall.gate import Checker
from nocall.model import Actor
from nocall.store import Database

_TOKEN_SECONDS = 0.5
"""How long a token is trusted without asking again, so also how long a revoked one may live."""
_TOKENS_KEPT = 10_000
_BEARER_BYTES = len(b"Bearer ")


@dataclass(slots=True)
class Runtime:
    settings: Settings
    database: Database
    door: Database
    """For asking who a token speaks for."""
    checker: Checker
    metrics: Metrics
    wake: Callable[[str], None]
    """Says that something of this organization was committed, so that followers may go on."""
    tokens: "TokenCache" = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TokenCache(self.door, self.settings.rate_limit_per_second)


@dataclass(slots=True)
class _Seen:
    actor: Actor
    until: float
    allowance: float
    allowance_at: float


class TokenCache:
    """Who a token speaks for, remembered for half a second, and how much it may still ask."""

    def __init__(self, database: Database, rate_per_second: int) -> None:
        self._database = database
        self._rate = rate_per_second
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Seen]] = {}

    def known(self, header: bytes) -> Actor | None:
        """The actor of an Authorization header whose token was asked about just now.

        Counts against its limit; None where it must be asked about, or has none left.
        """
        seen = self._seen.get(header[_BEARER_BYTES:].decode("latin-1"))
        now = time.monotonic()
        if seen is None or seen.until < now or not header.startswith(b"Bearer "):
            return None
        return None if self._rate and not self._spend(seen, now) else seen.actor

    async def authenticate(self, text: str) -> Actor:
        """Raises `NotAuthenticated`, `RateExceeded`."""
        now = time.monotonic()
        seen = self._seen.get(text)
        if seen is None or seen.until < now:
            # Requests that come while the token is being asked about share the one answer.
            asking = self._asking.get(text)
            if asking is None:
                asking = asyncio.get_running_loop().create_task(self._ask(text))
                self._asking[text] = asking
                asking.add_done_callback(lambda _: self._asking.pop(text, None))
            seen = await asyncio.shield(asking)
        if self._rate and not self._spend(seen, time.monotonic()):
            raise RateExceeded(f"a token may ask {self._rate} times a second", 1)
        return seen.actor

    async def _ask(self, text: str) -> _Seen:
        # The half second counts from before the question: a revocation committed after that is
        # seen by the next one.
        asked_at = time.monotonic()
        nobody = Actor("token", "", "", org.token_org(text))
        async with self._database.transaction(nobody) as tx:
            try:
                actor = await org.authenticate(tx, text)
            except NotAuthenticated:
                self._seen.pop(text, None)
                raise
        seen = self._seen.get(text)
        if seen is None:
            seen = self._seen[text] = _Seen(actor, 0.0, float(self._rate), asked_at)
            if len(self._seen) > _TOKENS_KEPT:
                self._seen.popitem(last=False)
        seen.actor, seen.until = actor, asked_at + _TOKEN_SECONDS
        return seen

    def _spend(self, seen: _Seen, now: float) -> bool:
        """A bucket that holds one second's worth and fills as time goes by."""
        filled = seen.allowance + (now - seen.allowance_at) * self._rate
        seen.allowance = min(float(self._rate), filled)
        seen.allowance_at = now
        if seen.allowance < 1:
            return False
        seen.allowance -= 1
        return True
