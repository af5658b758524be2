"""Every error that evalpoint raises, drawn as a tree.

    EvalpointError
    ├── UsageError                  the caller's mistake; raised before anything is spent
    │   ├── DataError               rows that cannot be evaluated; lists them all
    │   ├── ConfigurationError      settings, credentials and addresses that do not fit
    │   │   └── MissingExtra        an optional part that is not installed
    │   └── NotFound                a run, trace, experiment or endpoint that does not exist
    ├── CallError                   an outgoing call that has failed for good
    │   ├── Throttled               429, or 503: too much at once; may be tried again
    │   ├── Unreachable             no connection; may be tried again
    │   ├── Broken                  500, 502: the server's fault; may be tried again
    │   ├── CallTimeout             no complete answer in time; it may have run, so it is not sent again
    │   ├── AccessDenied            401, 403, a login page: the credentials do not open this door
    │   ├── Rejected                400, 404, 413 and the like: the same call would fail again
    │   └── UnusableReply           an answer came, and it is not what the interface promises
    ├── JudgeError                  a judge gave no usable verdict, even when asked again
    ├── ScorerError                 a scorer returned something that is no score
    ├── Stalled                     a run was stopped because what it calls does not return
    ├── StoreError                  the store cannot be read or written
    ├── FormatError                 bytes or JSON that are not what they should be
    ├── GateFailed                  result.check(): quality is below a threshold
    └── Inconclusive                result.check(): too little is known to say

A message says what happened, why, and what to do. Whether a failure may be tried again is an attribute of its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AccessDenied",
    "Broken",
    "CallError",
    "CallTimeout",
    "ConfigurationError",
    "DataError",
    "EvalpointError",
    "FormatError",
    "GateFailed",
    "Inconclusive",
    "JudgeError",
    "MissingExtra",
    "NotFound",
    "Problem",
    "Rejected",
    "ScorerError",
    "Stalled",
    "StoreError",
    "Throttled",
    "Unreachable",
    "UnusableReply",
    "UsageError",
]


class EvalpointError(Exception):
    """The root: catch it to catch everything that evalpoint raises on purpose."""


class UsageError(EvalpointError, ValueError):
    """The caller's mistake, raised before anything is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with one row, or, with no row, with the data as a whole."""

    message: str
    row: int | None = None

    def __str__(self) -> str:
        return self.message if self.row is None else f"row {self.row}: {self.message}"


class DataError(UsageError):
    """Rows that cannot be evaluated. `problems` holds the first hundred, `count` counts them all."""

    LISTED: ClassVar[int] = 100

    def __init__(self, problems: Sequence[Problem], count: int | None = None) -> None:
        self.problems = tuple(problems[: self.LISTED])
        self.count = len(problems) if count is None else count
        lines = [f"  {problem}" for problem in self.problems]
        if self.count > len(self.problems):
            lines.append(f"  … and {self.count - len(self.problems):,} more")
        noun = "problem" if self.count == 1 else "problems"
        super().__init__(f"The data has {self.count:,} {noun}; nothing was run and nothing was spent:\n" + "\n".join(lines))


class ConfigurationError(UsageError):
    """A setting, a credential or an address that does not fit; the message says which to set."""


class MissingExtra(ConfigurationError, ImportError):
    """An optional part of evalpoint that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an optional part of evalpoint: pip install "evalpoint[{extra}]"')


class NotFound(UsageError, LookupError):
    """A run, trace, experiment or endpoint that does not exist."""


class CallError(EvalpointError):
    """An outgoing call that has failed for good: everything that may be tried has been.

    Args:
        message: What happened, why, and what to do; never a token, a header or a whole payload.
        status: The HTTP status, when an answer came.
        error_code: The server's own code, such as `REQUEST_LIMIT_EXCEEDED`.
        retry_after: Seconds that the server asked callers to wait, when it said so.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, status: int | None = None, error_code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.retry_after = retry_after


class Throttled(CallError):
    """The server asks for less at once: 429, or 503 of an endpoint that starts or is full."""

    retryable: ClassVar[bool] = True


class Unreachable(CallError):
    """No connection: the request was not delivered."""

    retryable: ClassVar[bool] = True


class Broken(CallError):
    """The server failed: 500 or 502."""

    retryable: ClassVar[bool] = True


class CallTimeout(CallError):
    """No complete answer in time. The call may have run, so it is not sent again unasked."""


class AccessDenied(CallError):
    """The credentials do not open this door: 401, 403, or a login page in place of an answer."""


class Rejected(CallError):
    """The server refused this request, and would refuse it again."""


class UnusableReply(CallError):
    """An answer came, and it is not what the interface promises: HTML, broken JSON, a body without end."""


class JudgeError(EvalpointError):
    """A judge gave no usable verdict, even when asked again with the reason. `raw_text` is its last answer."""

    def __init__(self, message: str, raw_text: str = "") -> None:
        super().__init__(message)
        self.raw_text = raw_text


class ScorerError(EvalpointError):
    """A scorer returned something that is no score."""


class Stalled(EvalpointError):
    """A run was stopped because what it calls does not return: too many calls were abandoned at their deadline."""


class StoreError(EvalpointError):
    """The store cannot be read or written."""


class FormatError(EvalpointError, ValueError):
    """Bytes or JSON that are not what they should be."""


class GateFailed(EvalpointError):
    """`result.check()`: quality is below a threshold. The first line is the sentence for a notification."""


class Inconclusive(EvalpointError):
    """`result.check()`: too little is known to say whether quality is good. The first line is the sentence for a notification."""
