"""Compresses responses as hard as the client's link allows, and never harder.

    modnet run -m gzip -- python3 -m http.server
    modnet run -m gzip,coding=zstd,coding=gzip -- nginx
    modnet run -m gzip,level=6 -- apache2ctl start

Compressed are whole bodies of a kind that shrinks (`type`) and of some length (`least`), for clients that
take one of the codings (`coding`, the server's preference first; the client's weights count before it).
What is coded already, a range, a 206, or marked `no-transform` stays as it is, and what is never compressed
does not enter Python. The head says what was done: `Content-Encoding`, `Vary`, a weak `ETag`; HEAD is
answered as GET would be; a 304 to a weak validator has a weak one.

The level, 0 (stored) to 9, follows the network while the body is being sent. `policy`:

`paper` is the rule of the ModNet paper: one level down if the congestion window is larger than what the
socket buffer holds (TCP could send more than it has been given), else one up.

`adaptive`, the default, weighs what `paper` only compares. A byte of the body takes processor time at a
level, more if others want the processor too; what is left of it takes time on the link. The two go on at the
same time, so the level that is best is the one whose slower half is fastest:

    time(level) = max((cost[level] + rest) * share, size[level] / rate)

and a little of the faster half besides, since a moment later it may be the slower one.

- `cost` and `size` are measured while bodies are compressed, and carried over to levels that are not in use
  by what they cost and bring with typical text. `rest` is what the server and the kernel take for a byte.
- `share`: how many want each processor: the bodies that are being compressed or were a second ago, as far as
  their links keep them busy, times how much longer than its processor time a coding takes, since others want
  the processor too. A body that begins expects as many as there were within the last half minute, until it is
  asked again soon after.
- `rate` is what `modnet.estimate.Bandwidth` believes, and no less than what has just arrived; before it
  knows, what the kernel measured while it had more to send. Where all that was sent has arrived the processor
  was the slower half, or the link has become faster: the rate is taken for twice as much with each look, up
  to cwnd / srtt. A body begins with what its network (/24, /48) had of late, or with what its own connection
  has carried, if that is more; until more than a first burst has arrived nothing else is believed.

So a slow link gets level 8 or 9, a fast link on an idle machine the level that keeps it full, a fast link on
a busy machine 1, or 0 where many bodies wait.
To decide late, the kernel is given only what it will send until the body has its turn again, and for 20 ms
(`flow.limit_unsent`), until the rate is known and while others want the processor: on a quiet machine a slow
body is compressed ahead, as hard as its link is slow. Where the link stands idle while a coding still holds
bytes back, they are flushed; and where it does at the lightest level the policy is not asked again before
something waits for the link, or for 0.2 s: there is nothing to decide (`encoding.until_busy`).

Bodies that come slowly (server-sent events, a page that is being made) are flushed when nothing came for
5 ms, server-sent events at once. A body needs 0.3 MB (gzip) to 4 MB (br) of memory, whatever its length.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from modnet import http
from modnet.modules._levels import Adaptive, Machine, Paper
from modnet.settings import Size

if TYPE_CHECKING:
    from modnet.flow import Flow

__all__ = ["Gzip", "choose"]

TYPES = (
    "text/*",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/wasm",
    "application/x-ndjson",
    "image/svg+xml",
    "image/x-icon",
    "font/ttf",
    "font/otf",
)
"""What nginx's and Apache's example configurations compress; formats that are compressed by themselves are
not among them.
"""

_LOOK = 0.2
"""Seconds between two looks: a body on a slow link, which is asked for its level a few times a second, is not
forgotten between two of them.
"""


class Gzip(http.Module):
    """Compresses responses."""

    name = "gzip"

    @dataclass(frozen=True)
    class Settings:
        """What is compressed, with what, how hard."""

        coding: tuple[Literal["gzip", "zstd", "br"], ...] = field(
            default=("gzip",), metadata={"help": "codings that may be used, the preferred one first"}
        )
        policy: Literal["adaptive", "paper"] = field(
            default="adaptive", metadata={"help": "how the level follows the network"}
        )
        level: int | None = field(default=None, metadata={"help": "a fixed level instead, from 0 to 9"})
        lowest: int = field(default=0, metadata={"help": "the lowest level that a policy may choose"})
        highest: int = field(default=9, metadata={"help": "the highest"})
        type: tuple[str, ...] = field(
            default=TYPES, metadata={"help": "media types that are compressed; text/* for all of a kind"}
        )
        # What does not fill a packet takes a packet whatever it becomes: 1460 bytes less a head of some 300.
        least: Size = field(
            default=1000, metadata={"help": "bodies that say they are shorter stay as they are"}
        )

        def __post_init__(self) -> None:
            if not self.coding or len(set(self.coding)) < len(self.coding):
                raise ValueError("coding must name each coding once")
            if self.level is not None and not 0 <= self.level <= 9:
                raise ValueError("level must be from 0 to 9, or none for a policy")
            if not 0 <= self.lowest <= self.highest <= 9:
                raise ValueError("lowest and highest must be from 0 to 9, in this order")
            for kind in self.type:
                if "/" not in kind or "*" in kind.removesuffix("/*"):
                    raise ValueError(f"type must be like text/html or text/*, not {kind!r}")

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._machine = Machine()
        self._choose = functools.lru_cache(maxsize=256)(functools.partial(choose, settings.coding))

    def start(self) -> None:
        """Forgets bodies whose clients read no more, where a policy counts them."""
        if self.settings.level is None and self.settings.policy == "adaptive":
            self.every(_LOOK, self._machine.look)

    def counters(self) -> Mapping[str, int]:
        """`level_0` to `level_9`: decisions for each; `blind`: those without TCP's state."""
        return self._machine.counters()

    def wanted(self) -> http.Wanted:
        """Whole bodies of some length that may shrink."""
        return http.Wanted(self.settings.type, self.settings.least, plain=True)

    def response(self, flow: Flow, request: http.Request, response: http.Response) -> None:
        """Compresses it, if the client takes that."""
        headers = response.headers
        if response.status == 304:
            _weaken(request, response)
            return
        if request.headers.lists("cache-control", "no-transform"):
            return
        if not (headers.lists("vary", "accept-encoding") or headers.lists("vary", "*")):
            # Also where it is not compressed: a cache must not give it to a client that could have had less.
            headers.add("Vary", "Accept-Encoding")
        coding = self._choose(",".join(request.headers.all("accept-encoding")))
        if coding is None:
            return
        flush = 0.0 if response.type == "text/event-stream" else 0.005
        response.encode(coding, self._level(flow), flush=flush)

    def _level(self, flow: Flow) -> int | Callable[[Any, Any], int]:
        chosen = self.settings
        if chosen.level is not None:
            return chosen.level
        if chosen.policy == "paper":
            return Paper(self._machine, chosen.lowest, chosen.highest).level
        return Adaptive(self._machine, chosen.lowest, chosen.highest).level


def choose(codings: tuple[str, ...], field: str) -> Literal["gzip", "zstd", "br"] | None:
    """The coding for a client that sent this Accept-Encoding; None: it is to get the body as it is.

    >>> choose(("zstd", "gzip"), "gzip, zstd"), choose(("zstd", "gzip"), "gzip, zstd;q=0.5")
    ('zstd', 'gzip')
    >>> choose(("gzip",), "identity, gzip;q=0.5")
    """
    weights = http.accepted(field)
    best = max(codings, key=lambda coding: weights.get(coding, 0.0))
    weight = weights.get(best, 0.0)
    if weight <= 0.0 or weights.get("identity", 0.0) > weight:
        return None
    return best  # type: ignore[return-value]  # one of the setting's words


def _weaken(request: http.Request, response: http.Response) -> None:
    """The server answers that the client's copy is current; the copy's validator was made weak by us."""
    tag = response.headers.get("etag", "")
    asked = [one.strip() for field in request.headers.all("if-none-match") for one in field.split(",")]
    if tag.startswith('"') and f"W/{tag}" in asked:
        response.headers["ETag"] = f"W/{tag}"
