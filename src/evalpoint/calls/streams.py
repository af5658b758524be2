"""An answer's body as it arrives: every piece at once, one deadline over all of them, and never without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from evalpoint.calls.exchanges import FOREIGN, Opened
from evalpoint.calls.transport import deadline

__all__ = ["ByteStream"]

_READ = 16 * 2**10


class ByteStream:
    """The raw bytes of one answer, to be read once, on one thread.

    The first bytes are here already: what went wrong before them has been tried again where that may help. What goes wrong
    after them is final.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._next = _reader(opened.response.raw)
        self._size = 0
        self._first = self._read()
        self.first_byte_ms = opened.elapsed_ms
        """From the first byte sent to the first of the body received."""

    @property
    def status(self) -> int:
        return self._opened.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Their names are in lower case."""
        return self._opened.headers

    @property
    def elapsed_ms(self) -> float:
        """Since the first byte was sent."""
        return self._opened.elapsed_ms

    def __iter__(self) -> Iterator[bytes]:
        """The pieces as they arrive; never an empty one.

        Raises:
            CallError: The connection broke, the deadline passed, or there is no end to it.
        """
        piece, self._first = self._first, b""
        while piece:
            yield piece
            piece = self._read()

    def hurry(self, seconds: float) -> None:
        """What still comes may take only so long."""
        self._opened.until = min(self._opened.until, self._opened.clock() + seconds)

    def close(self) -> None:
        """Lets the connection go; one that was read to its end is used again."""
        self._opened.response.close()

    def _read(self) -> bytes:
        try:
            with deadline(self._opened.left()):
                piece = self._next()
        except FOREIGN as error:
            raise self._opened.failure(error) from None
        self._size += len(piece)
        if self._size > self._opened.request.max_body:
            raise self._opened.too_large()
        return piece


def _reader(raw: Any) -> Callable[[], bytes]:
    """Reads what has arrived, without waiting for more; b"" at the end."""
    raw.enforce_content_length = True  # older versions of urllib3 take a body that is cut off for a whole one
    read1 = getattr(raw, "read1", None)
    if read1 is not None:
        return lambda: read1(_READ, decode_content=True) or b""
    single = raw.stream(1, decode_content=True)  # urllib3 1.26 waits until it has as much as it was asked for
    return lambda: next(single, b"")
