"""litellm's exceptions as ours, in one table. What litellm says is bounded, and secrets are taken out of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from evalpoint.calls import redact
from evalpoint.errors import AccessDenied, Broken, CallError, CallTimeout, Rejected, Throttled, Unreachable, UnusableReply

__all__ = ["TABLE", "redacted", "translate"]

TABLE: Mapping[str, type[CallError] | None] = {
    "APIConnectionError": Unreachable,
    "APIError": None,
    "APIResponseValidationError": UnusableReply,
    "APIStatusError": None,
    "APITimeoutError": CallTimeout,
    "AuthenticationError": AccessDenied,
    "BadGatewayError": Broken,
    "BadRequestError": Rejected,
    "BlockedPiiEntityError": Rejected,
    "BudgetExceededError": Rejected,
    "ContentPolicyViolationError": Rejected,
    "ContextWindowExceededError": Rejected,
    "GuardrailRaisedException": Rejected,
    "ImageFetchError": Rejected,
    "InternalServerError": Broken,
    "InvalidRequestError": Rejected,
    "JSONSchemaValidationError": UnusableReply,
    "LiteLLMUnknownProvider": Rejected,
    "MidStreamFallbackError": Broken,
    "MockException": None,
    "ModelNotMappedError": Rejected,
    "ModifyResponseException": Rejected,
    "NotFoundError": Rejected,
    "OpenAIError": None,
    "PaymentRequiredError": Rejected,
    "PermissionDeniedError": AccessDenied,
    "RateLimitError": Throttled,
    "RejectedRequestError": Rejected,
    "SensitiveDataRouteException": Rejected,
    "ServiceUnavailableError": Throttled,
    "Timeout": CallTimeout,
    "UnprocessableEntityError": Rejected,
    "UnsupportedParamsError": Rejected,
    "VectorStoreSearchError": Rejected,
}
"""By class name, because litellm is not loaded until a model needs it; None where only the status can tell."""

_BY_STATUS: Mapping[int, type[CallError]] = {
    401: AccessDenied,
    403: AccessDenied,
    408: CallTimeout,
    429: Throttled,
    500: Broken,
    502: Broken,
    503: Throttled,
    504: CallTimeout,
}
_WHAT: Mapping[type[CallError], str] = {
    AccessDenied: "refused the credentials; check the provider's API key",
    Broken: "failed",
    CallError: "could not be asked",
    CallTimeout: "gave no complete answer in time",
    Rejected: "refused the request",
    Throttled: "is asked too much at once",
    Unreachable: "could not be reached",
    UnusableReply: "gave a reply that is no chat completion",
}
_SPECIAL: Mapping[str, str] = {
    "ContentPolicyViolationError": "refused the request: its content filter does not let this row be judged",
    "ContextWindowExceededError": "refused the request: the row is longer than the model can read; name one with a larger context window",
}
_LIMIT = 600
_PREFIXES = re.compile(r"^(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?:: | - )")


def translate(error: BaseException, uri: str, secrets: Iterable[str] = ()) -> CallError:
    """The error of our own that a litellm exception stands for; one of no known class is a plain `CallError`, and final."""
    names = [base.__name__ for base in type(error).__mro__]
    known = next((name for name in names if name in TABLE), None)
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) and 100 <= status <= 599 else None
    kind = (TABLE[known] if known else None) or _of_status(status)
    what = _SPECIAL.get(known or "", _WHAT[kind])
    said = redacted(str(getattr(error, "message", "") or error), secrets)
    return kind(
        f"The model {uri} {what}. {type(error).__name__}: {said}" if said else f"The model {uri} {what} ({type(error).__name__})",
        status=status,
        retry_after=_retry_after(error) if kind.retryable else None,
    )


def _of_status(status: int | None) -> type[CallError]:
    if status is None:
        return CallError
    return _BY_STATUS.get(status, Rejected if 400 <= status < 500 else Broken if status >= 500 else CallError)


def _retry_after(error: BaseException) -> float | None:
    """The seconds of a Retry-After header, where the exception kept the response's headers."""
    for holder in (getattr(error, "response", None), error):
        headers = getattr(holder, "headers", None) or getattr(holder, "litellm_response_headers", None)
        try:
            seconds = float(headers["retry-after"]) if headers else -1.0
        except (KeyError, TypeError, ValueError):  # no such header, or a date: calls has its own waiting for that
            continue
        if 0 <= seconds < 86_400:
            return seconds
    return None


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """The text on one line, without secrets and without litellm's own prefixes, at most 600 characters."""
    text = " ".join(redact(text.partition("Traceback (most recent call last)")[0], secrets).split())
    for _ in range(3):  # "litellm.RateLimitError: RateLimitError: OpenAIException - …"
        text = _PREFIXES.sub("", text)
    return text if len(text) <= _LIMIT else text[:_LIMIT] + "…"
