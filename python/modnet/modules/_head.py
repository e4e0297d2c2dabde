"""The beginning of an HTTP/1.x message, looked at from outside: enough to choose by, and no more.

A head is given as it comes, and asked for when there is enough of it. Rules: strict, since two readers of
one head must not understand it differently: what is not plainly an HTTP/1.x head (a bare LF, a line that is
folded or has no colon, two Host fields, more than `MOST` bytes) is *not known*, and nobody chooses by a
guess. It never changes a byte. Must not: know a message's body, or a flow.

>>> request(b"GET /a?b=c HTTP/1.1\\r\\nHost: Example.com:80\\r\\n\\r\\n")
Request(method='GET', host='example.com', path='/a')
>>> request(b"GET /a HTT") is None, request(b"\\x16\\x03\\x01")
(True, <Unknown.UNKNOWN: 'no HTTP/1 head'>)
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["MOST", "UNKNOWN", "Request", "Response", "request", "response"]

MOST = 16 * 1024
"""Bytes of a head; servers take 8 KiB by default."""


class Unknown(enum.Enum):
    """It is none, or none that is understood."""

    UNKNOWN = "no HTTP/1 head"


UNKNOWN: Final = Unknown.UNKNOWN
_Unknown: TypeAlias = Literal[Unknown.UNKNOWN]


@dataclass(frozen=True)
class Request:
    """What is asked of whom."""

    method: str
    host: str
    """In small letters, without the port; empty where there is none."""
    path: str
    """Without the query."""


@dataclass(frozen=True)
class Response:
    """What is answered."""

    status: int
    type: str
    """Media type in small letters, without parameters; empty where there is none."""
    length: int
    """Bytes of the head."""


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.[01]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*)?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t -~\x80-\xff]*)")
_METHOD_BEGINS = re.compile(rb"[A-Z][A-Z\-_]{0,31}(?: [!-~]*)?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)([^?#]*)", re.IGNORECASE)


def request(data: bytes) -> Request | _Unknown | None:
    """The head of a request that begins with these bytes; None: there is not enough of it yet."""
    lines = _lines(data)
    if lines is None:
        # What cannot become a request line is none at once: others may wait for the answer to these bytes.
        begun = data.split(b"\r\n", 1)[0]
        possible = _METHOD_BEGINS.match(begun) and b"\n" not in begun
        return None if len(data) < MOST and (not data or possible) else UNKNOWN
    found = _REQUEST_LINE.fullmatch(lines[0])
    fields = _fields(lines[1:])
    if found is None or fields is None or len(fields.get("host", [])) > 1:
        return UNKNOWN
    target = found[2].decode("ascii")
    host = "".join(fields.get("host", []))
    if absolute := _ABSOLUTE.fullmatch(target.partition("?")[0]):
        host, target = absolute[1], absolute[2] or "/"
    return Request(found[1].decode("ascii"), _without_port(host), target.partition("?")[0])


def response(data: bytes) -> Response | _Unknown | None:
    """The head of a response that begins with these bytes; None: there is not enough of it yet."""
    lines = _lines(data)
    if lines is None:
        possible = b"HTTP/1."[: len(data)] == data[:7]
        return None if len(data) < MOST and possible else UNKNOWN
    found = _STATUS_LINE.fullmatch(lines[0])
    fields = _fields(lines[1:])
    if found is None or fields is None or len(fields.get("content-type", [])) > 1:
        return UNKNOWN
    media = "".join(fields.get("content-type", [])).partition(";")[0].strip().lower()
    return Response(int(found[1]), media, sum(len(line) + 2 for line in lines) + 2)


def _lines(data: bytes) -> list[bytes] | None:
    head, end, _ = data[:MOST].partition(b"\r\n\r\n")
    return head.split(b"\r\n") if end else None


def _fields(lines: list[bytes]) -> dict[str, list[str]] | None:
    fields: dict[str, list[str]] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            return None
        fields.setdefault(found[1].decode("ascii").lower(), []).append(
            found[2].decode("latin-1").strip(" \t")
        )
    return fields


def _without_port(host: str) -> str:
    name = host.rpartition("@")[2]
    return (name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]).lower()
