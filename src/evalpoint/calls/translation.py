"""What went wrong with a call, in our words: one table for the libraries' exceptions, one for status codes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from evalpoint.calls.redaction import redact
from evalpoint.calls.replies import HttpReply, sentence_start
from evalpoint.errors import AccessDenied, Broken, CallError, CallTimeout, Rejected, Throttled, Unreachable, UnusableReply
from evalpoint.formats import error_text

__all__ = ["EXCEPTIONS", "names_address", "refusal", "seconds_to_wait", "status_class", "translate", "web_page"]

EXCEPTIONS: Mapping[str, type[CallError]] = {
    "requests.RequestException": Broken,
    "requests.InvalidJSONError": Rejected,
    "requests.JSONDecodeError": UnusableReply,
    "requests.HTTPError": Rejected,
    "requests.ConnectionError": Broken,  # looked into: what it wraps decides
    "requests.ProxyError": Unreachable,
    "requests.SSLError": Unreachable,
    "requests.Timeout": CallTimeout,
    "requests.ConnectTimeout": Unreachable,
    "requests.ReadTimeout": CallTimeout,
    "requests.URLRequired": Rejected,
    "requests.TooManyRedirects": AccessDenied,
    "requests.MissingSchema": Rejected,
    "requests.InvalidSchema": Rejected,
    "requests.InvalidURL": Rejected,
    "requests.InvalidHeader": Rejected,
    "requests.InvalidProxyURL": Rejected,
    "requests.ChunkedEncodingError": Broken,
    "requests.ContentDecodingError": UnusableReply,
    "requests.StreamConsumedError": UnusableReply,
    "requests.RetryError": Broken,
    "requests.UnrewindableBodyError": Rejected,
    "urllib3.HTTPError": Broken,
    "urllib3.PoolError": Unreachable,
    "urllib3.RequestError": Broken,
    "urllib3.SSLError": Unreachable,
    "urllib3.ProxyError": Unreachable,
    "urllib3.DecodeError": UnusableReply,
    "urllib3.ProtocolError": Broken,
    "urllib3.MaxRetryError": Broken,  # looked into: its reason decides
    "urllib3.HostChangedError": AccessDenied,
    "urllib3.TimeoutStateError": CallTimeout,
    "urllib3.TimeoutError": CallTimeout,
    "urllib3.ReadTimeoutError": CallTimeout,
    "urllib3.ConnectTimeoutError": Unreachable,
    "urllib3.NewConnectionError": Unreachable,
    "urllib3.NameResolutionError": Unreachable,
    "urllib3.EmptyPoolError": Unreachable,
    "urllib3.FullPoolError": Unreachable,
    "urllib3.ClosedPoolError": Unreachable,
    "urllib3.LocationValueError": Rejected,
    "urllib3.LocationParseError": Rejected,
    "urllib3.URLSchemeUnknown": Rejected,
    "urllib3.ResponseError": Broken,
    "urllib3.ResponseNotChunked": UnusableReply,
    "urllib3.BodyNotHttplibCompatible": UnusableReply,
    "urllib3.IncompleteRead": Broken,
    "urllib3.InvalidChunkLength": Broken,
    "urllib3.InvalidHeader": UnusableReply,
    "urllib3.ProxySchemeUnknown": Rejected,
    "urllib3.ProxySchemeUnsupported": Rejected,
    "urllib3.HeaderParsingError": UnusableReply,
    "urllib3.UnrewindableBodyError": Rejected,
    "builtins.TimeoutError": CallTimeout,
    "builtins.UnicodeError": Rejected,  # a host name or a header that cannot be encoded
    "builtins.OSError": Broken,
}
"""By library and class name, because not every version has every class; a class that is missing counts as its base."""

_SENTENCES: Mapping[type[CallError], str] = {
    Unreachable: "{who}{place} cannot be reached: {why}. Check the address, the network and the proxy settings.",
    Broken: "{who}{place} broke the connection off: {why}.",
    CallTimeout: "{who}{place} gave no complete answer within {seconds:.3g} s. The call may have run, so it is not sent again. "
    "Allow it more time (attempt_timeout), or ask for shorter answers.",
    AccessDenied: "{who}{place} sends its callers elsewhere: {why}. Check the address and the credentials.",
    UnusableReply: "{who}{place} answered with something that cannot be read: {why}.",
    Rejected: "The request to {what} cannot be sent: {why}.",
}

_STATUSES: Mapping[int, type[CallError]] = {
    401: AccessDenied,
    403: AccessDenied,
    408: Unreachable,
    429: Throttled,
    503: Throttled,
    504: CallTimeout,
}
_ADVICE: Mapping[int, str] = {
    401: "The credentials were refused: check that the token belongs to this host and has not expired.",
    403: "The identity lacks a permission, or its address is not allowed.",
    413: "The request is too large; send less at once.",
    504: "The call took longer than the server allows, so it is not sent again.",
}
_ADDRESS = re.compile(r"\bip (acl|access list|address)|\bsource ip\b", re.IGNORECASE)
_ADDRESS_ADVICE = (
    "This is about where the call comes from, not about who makes it: the IP access list does not have this machine's address. "
    "Call from an allowed network (VPN), or ask an administrator to add the address."
)
_CERTIFICATE_ADVICE = (
    "The server's certificate is not trusted here: set REQUESTS_CA_BUNDLE to a file with the certificate of the authority "
    "that signed it, such as your company's, and check that the address is the right one."
)
_PROXY_ADVICE = "The call goes through the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY name: check it, or list the host in NO_PROXY."


def translate(error: BaseException, *, what: str, place: str = "", seconds: float = 0.0, secrets: Iterable[str] = ()) -> CallError:
    """An exception of requests or urllib3, or of the socket below them, as ours.

    Args:
        error: The exception.
        what: Who was called, such as `endpoint 'chat'`.
        place: Its address.
        seconds: How long the attempt was allowed to take.
        secrets: Header values that no message may carry.
    """
    chain = list(_causes(error))
    kind = next((found for found in map(_lookup, reversed(chain)) if found is not None), Broken)
    why = redact(_reason(chain), secrets).rstrip(".")
    at = f" at {place}" if place else ""
    advice = _network_advice(chain, why)
    if kind is Unreachable and advice:
        return Unreachable(f"{sentence_start(what)}{at} cannot be reached: {why}. {advice}")
    return kind(_SENTENCES[kind].format(who=sentence_start(what), what=what + at, place=at, why=why, seconds=seconds))


def _network_advice(chain: list[BaseException], why: str) -> str | None:
    """What to do about a certificate or a proxy, when the failure is one's."""
    if any(type(error).__name__ == "ProxyError" for error in chain):
        return _PROXY_ADVICE
    return _CERTIFICATE_ADVICE if "certificate" in why.lower() else None


def names_address(error: CallError) -> bool:
    """Whether a 403 is about the address that the call comes from, and no permission would help."""
    return error.status == 403 and _ADDRESS.search(str(error)) is not None


def status_class(status: int) -> type[CallError]:
    """The class of a status that is no success."""
    if status in _STATUSES:
        return _STATUSES[status]
    if 300 <= status < 400:
        return AccessDenied
    if 400 <= status < 500:
        return Rejected
    return Broken if 500 <= status < 600 else UnusableReply


def refusal(reply: HttpReply, *, place: str, secrets: Iterable[str] = (), now: Callable[[], float] = time.time) -> CallError:
    """An answer whose status is no success, as an error with the server's code, its request to wait, and its own words."""
    kind = status_class(reply.status)
    who = f"{sentence_start(reply.what)} at {place}"
    if kind is AccessDenied and reply.status < 400:
        target = redact(_without_query(reply.headers.get("location", "")), secrets)
        return AccessDenied(
            f"{who} answered with a redirect ({reply.status}) to {target or 'nowhere'}, most often a login page. "
            "Redirects are not followed, so that no token is carried elsewhere: check the address and the credentials.",
            status=reply.status,
        )
    code, message = error_text(redact(reply.text, secrets))  # before it is cut, so that no half of a token is left over
    code = redact(code, secrets)[:100] if code else None
    named = f" ({code})" if code and code != str(reply.status) else ""
    said = redact(message, secrets).strip()
    advice = _ADDRESS_ADVICE if reply.status == 403 and _ADDRESS.search(said) else _ADVICE.get(reply.status, "")
    text = f"{who} answered {reply.status}{named}: {said or 'without a message'}"
    return kind(
        f"{text if text.endswith(('.', '!', '?')) else text + '.'} {advice}".rstrip(),
        status=reply.status,
        error_code=code,
        retry_after=seconds_to_wait(reply.headers.get("retry-after"), now),
    )


def web_page(headers: Mapping[str, str], *, status: int, what: str, place: str) -> AccessDenied | None:
    """The error that a web page in place of an answer is, if it is one."""
    if not headers.get("content-type", "").lower().startswith("text/html"):
        return None
    return AccessDenied(
        f"{sentence_start(what)} at {place} answered {status} with a web page, most often a login page. "
        "Check the address, and that the credentials are of a kind that this server takes.",
        status=status,
    )


def seconds_to_wait(text: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Retry-After in seconds, from a number or an HTTP date; None when there is none, or nonsense."""
    if text is None or len(text) > 100:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now()
        except (TypeError, ValueError, IndexError, OverflowError):  # what the standard library's parser raises for nonsense
            return None
    return max(0.0, seconds) if abs(seconds) < 1e9 else None


def _lookup(error: BaseException) -> type[CallError] | None:
    """The first class of the error's ancestry that the table knows."""
    for ancestor in type(error).__mro__:
        found = EXCEPTIONS.get(f"{ancestor.__module__.partition('.')[0]}.{ancestor.__name__}")
        if found is not None:
            return found
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it wraps, outermost first, as far as the two libraries wrap."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        candidates: tuple[object, ...] = (getattr(step, "reason", None), *step.args, getattr(step, "original_error", None))
        step = next((each for each in candidates if isinstance(each, BaseException) and _library(each)), None)


def _library(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("requests", "urllib3")


def _reason(chain: list[BaseException]) -> str:
    """The innermost words: the socket's own, not the wrappers' with their object addresses."""
    last = chain[-1]
    inner = next((each for each in last.args if isinstance(each, BaseException)), None) or last.__cause__ or last
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return (str(inner) or type(inner).__name__)[:300]


def _without_query(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an unreadable address"
    host = parts.netloc.rpartition("@")[2]
    return (f"{parts.scheme}://{host}{parts.path}" if host else parts.path)[:200]
