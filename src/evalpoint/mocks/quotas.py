"""How much may be asked of an endpoint in a minute, and what it answers to more."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalpoint.mocks.exchange import Response, error_response, members

__all__ = ["Meter", "Quota"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Limits of one endpoint; calls beyond them are answered 429.

    Tokens are counted when a call is let in, as the platform does: those of the request as estimated from its length,
    and those of the answer as reserved by `max_tokens`, 0 where the request does not say.

    Args:
        requests_per_minute: Calls that are let in.
        tokens_per_minute: Tokens that are let in.
        retry_after: Whether the refusal says in `Retry-After` when to come back.
        per: Seconds that a minute has here; less for tests that do not want to wait.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    retry_after: bool = True
    per: float = 60.0


class Meter:
    """What was let in during the last minute, of one endpoint."""

    def __init__(self, name: str, quota: Quota) -> None:
        self._name = name
        self.quota = quota
        self._admitted: deque[tuple[float, int]] = deque()

    def admit(self, body: Any, size: int, now: float) -> Response | None:
        """Counts a call in, or says what it is refused with."""
        quota, admitted = self.quota, self._admitted
        while admitted and admitted[0][0] <= now - quota.per:
            admitted.popleft()
        wanted = (size + 3) // 4 + _reserved(members(body))
        if quota.requests_per_minute is not None and len(admitted) >= quota.requests_per_minute:
            return self._refused("workspace QPS rate limit", now)
        used = sum(amount for _, amount in admitted)
        if quota.tokens_per_minute is not None and used + wanted > quota.tokens_per_minute:
            return self._refused("tokens per minute rate limit", now)
        admitted.append((now, wanted))
        return None

    def described(self) -> list[dict[str, Any]]:
        """The limits as the endpoint's description has them."""
        limit: dict[str, Any] = {"key": "endpoint", "renewal_period": "minute"}
        calls, amount = self.quota.requests_per_minute, self.quota.tokens_per_minute
        return [{**limit, name: value} for name, value in (("calls", calls), ("tokens", amount)) if value is not None]

    def _refused(self, what: str, now: float) -> Response:
        advice = "Please use a provisioned throughput endpoint for higher rate limits."
        message = f"REQUEST_LIMIT_EXCEEDED: Exceeded {what} for {self._name}. {advice}"
        oldest = self._admitted[0][0] if self._admitted else now
        wait = math.ceil(max(oldest + self.quota.per - now, 0.0) * 1000) / 1000
        shown = f"{math.ceil(wait)}" if self.quota.per >= 10 else f"{wait:g}"
        headers = {"retry-after": shown} if self.quota.retry_after else {}
        return error_response(429, "REQUEST_LIMIT_EXCEEDED", message, headers=headers)


def _reserved(body: Mapping[str, Any]) -> int:
    given = [body.get(key) for key in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    return next((value for value in given if isinstance(value, int)), 0)
