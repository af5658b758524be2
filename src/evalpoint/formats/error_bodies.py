"""Error bodies of every server on the way -> a code and a message that people can read. Nothing here raises."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from evalpoint.formats.contents import compact, mapping, some_text
from evalpoint.formats.jsontext import as_text, decode
from evalpoint.formats.narrowing import is_dict, is_list

__all__ = ["error_text"]

_LOOKED_AT = 200_000
"""Characters of a body that are read; an error is never longer."""
_SECRET = re.compile(r"(?i)\bbearer\s+[\w.~+/=-]{8,}|\bdapi[0-9a-f]{16,}(?:-\d+)?|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_LEVELS = 4


def error_text(body: Any, limit: int = 2000) -> tuple[str | None, str]:
    """The error code, where there is one, and the message of an error body: JSON of any server, a web page, or text.

    Args:
        body: Bytes, text, or JSON that is decoded already.
        limit: The longest message; a longer one is cut.
    """
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body[:_LOOKED_AT]).decode("utf-8", "replace")
    if isinstance(body, str):
        text = body[:_LOOKED_AT].strip()
        try:
            body = decode(text)
        except ValueError:  # no JSON: a page or plain words
            return None, _cut(_page_text(text) if _is_page(text) else text, limit)
    code, message = _read(body, _LEVELS)
    if _is_page(message):
        message = _page_text(message)
    return code, _cut(message, limit)


def _read(body: Any, levels: int) -> tuple[str | None, str]:
    if body is None or body == "":
        return None, ""
    if not is_dict(body) or levels == 0:
        return None, compact(body)
    said = body
    inner = mapping(said.get("error")) or mapping(mapping(said.get("databricks_output")).get("error"))
    if inner:
        code, message = _read(inner, levels - 1)
        return code or _code(said), message
    code = _code(said)
    message = some_text(said.get("message")) or some_text(said.get("error")) or some_text(said.get("error_message"))
    message = message or some_text(said.get("msg")) or _detail(said.get("detail")) or some_text(said.get("error_description"))
    if wrapped := mapping(said.get("external_model_message")):
        inner_code, inner_message = _read(wrapped, levels - 1)
        return code or inner_code, f"{message}: {inner_message}" if message else inner_message
    if not message and isinstance(said.get("message"), (dict, list)):
        message = compact(said["message"])
    return code, message or (compact(said) if set(said) - {"error_code", "code", "type"} else "")


def _code(said: dict[str, Any]) -> str | None:
    for key in ("error_code", "code", "type"):
        code = said.get(key)
        if isinstance(code, str) and code:
            return as_text(code)[:100]
        if type(code) is int:
            return as_text(code)[:100]
    return None


def _detail(detail: object) -> str:
    """FastAPI's: a text, or a list of what is wrong where."""
    if isinstance(detail, str) or not detail:
        return some_text(detail)
    if not is_list(detail):
        return some_text(mapping(detail).get("message")) or compact(detail)
    problems: list[str] = []
    for entry in detail[:20]:
        said = mapping(entry)
        place = said.get("loc")
        where = ".".join(as_text(step) for step in place) if is_list(place) else ""
        what = some_text(said.get("msg")) or compact(entry)
        problems.append(f"{where}: {what}" if where else what)
    return "; ".join(problems)


def _cut(message: str, limit: int) -> str:
    message = _SECRET.sub("[removed]", as_text(message).strip()) or "The answer says nothing."
    return message if len(message) <= limit else message[: max(limit - 1, 0)] + "…"


def _is_page(text: str) -> bool:
    start = text[:500].lstrip().lower()
    return start.startswith("<") and any(tag in start for tag in ("<html", "<!doctype", "<head", "<body", "<h1", "<title", "<p>"))


class _Page(HTMLParser):
    """The title and the visible text of a web page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.visible: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "title"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            del self._inside[self._inside.index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.visible.append(data)
        elif self._inside[-1] == "title":
            self.title.append(data)


def _page_text(text: str) -> str:
    page = _Page()
    page.feed(text)
    page.close()
    title, visible = (" ".join(" ".join(parts).split()) for parts in (page.title, page.visible))
    if title and visible.startswith(title):
        title = ""
    said = ". ".join(part.rstrip(".") for part in (title, visible) if part)
    return f"The answer is a web page: {said}." if said else "The answer is an empty web page."
