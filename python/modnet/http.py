"""`modnet.http.Module`: a module that gets requests and responses instead of bytes.

    import modnet.http

    class Shout(modnet.http.Module):
        def response(self, flow, request, response):
            if response.type == "text/html":
                response.body(bytes.upper)

    $ modnet run -m shout.py:Shout -- python3 -m http.server

Messages are framed in Rust, once for all modules, after RFC 9112: chunks and trailers, HEAD, 1xx, pipelined
requests, bodies that end with the connection. A hook edits headers in place and says what becomes of the
body; the framing follows by itself, and so do the fields that a changed body makes wrong (`Content-Length`,
digests, `Accept-Ranges`, a strong ETag).

| called | when | may |
| --- | --- | --- |
| `wanted()` | once, before the first flow | say which responses are wanted; others never enter Python |
| `request(flow, request)` | its head has come | edit `request.headers`, change its `body(...)` |
| `response(flow, request, response)` | its head has come | edit `headers`; `body(...)`, `encode(...)` |
| `opened(flow)`, `closed(flow)` | as in any module | |

A body is changed by a coding, which stays in Rust (`response.encode("gzip", level=6)`), or by Python: a
function from bytes to bytes, called with each piece, or an object with `data(piece)` and, if it likes,
`flush()` (nothing came for a while) and `end()`, which return bytes.

Rules: what nobody changed goes on byte for byte. What is no HTTP/1.x, an upgrade, a tunnel, or a message that
two parsers might read in two ways passes untouched, and so does the rest of its flow; each is counted by its
reason (`http_opaque_...` in `modnet module show`). A hook that raises gives up its flow in the same way,
unless `on_error` says reset; a body's transform that raises resets it: half of the message has gone. Requests
that a class has no hook for are not held back while they are read. A flow can be yielded in `opened` only.
Must not: do I/O, or decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from modnet import module as _module

if TYPE_CHECKING:
    from modnet import _native
    from modnet.flow import Flow

    Request: TypeAlias = _native.HttpRequest
    Response: TypeAlias = _native.HttpResponse
    Headers: TypeAlias = _native.HttpHeaders
    Encoding: TypeAlias = _native.HttpEncoding

__all__ = ["Encoding", "Headers", "Module", "Request", "Response", "Wanted", "accepted"]


@dataclass(frozen=True)
class Wanted:
    """Which responses a module is asked about; the default is all of them."""

    types: tuple[str, ...] = ()
    """Media types, `text/*` for all of a kind; (): any, and none."""
    least: int = 0
    """Not those whose body says that it is shorter."""
    plain: bool = False
    """Only whole bodies without a coding that may be changed; and 304 if the client's validator is weak."""


class Module(_module.Module):
    """Base of modules that get messages. Override the hooks you want."""

    _HOOKS: ClassVar[dict[str, tuple[str, ...]]] = {
        "opened": ("flow",),
        "request": ("flow", "request"),
        "response": ("flow", "request", "response"),
        "closed": ("flow",),
    }

    def wanted(self) -> Wanted:
        """Which responses `response` is called for; asked once, when the settings are known."""
        return Wanted()

    def request(self, flow: Flow, request: Request) -> None:
        """A request's head has come; it goes on when this returns."""

    def response(self, flow: Flow, request: Request, response: Response) -> None:
        """The head of the final response to `request` has come; it goes on when this returns."""


Module._HOOKS_OF = Module


def accepted(field: str | None) -> dict[str, float]:
    """An Accept-Encoding field as codings and their weights, above 0; RFC 9110 §12.5.3.

    A coding that is not named has the weight of `*`, if that is named. No field: nothing but identity.

    >>> accepted("gzip;q=0.5, br, zstd;q=0")
    {'gzip': 0.5, 'br': 1.0}
    """
    weights: dict[str, float] = {}
    refused = set()
    for member in (field or "").split(","):
        coding, _, parameters = member.partition(";")
        coding = coding.strip().lower()
        weight = _weight(parameters)
        if coding and weight > 0:
            weights["gzip" if coding == "x-gzip" else coding] = weight
        elif coding:
            refused.add(coding)
    if "*" in weights:
        rest = weights.pop("*")
        for coding in ("gzip", "zstd", "br"):
            if coding not in refused:
                weights.setdefault(coding, rest)
    return weights


def _weight(parameters: str) -> float:
    """`q`'s value; what is no number is taken as a refusal, which is always safe."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(float(value.strip()), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def __getattr__(name: str) -> type:
    # For annotations and isinstance; the extension is loaded by those who use it.
    if name in ("Request", "Response", "Headers", "Encoding"):
        from modnet import _native

        found: type = getattr(_native, f"Http{name}")
        return found
    raise AttributeError(f"module 'modnet.http' has no attribute {name!r}")
