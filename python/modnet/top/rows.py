"""A line for each flow, from what modules publish at two moments.

Rates are differences between two looks; a flow seen for the first time has none. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from modnet.estimate import Bandwidth

__all__ = ["Board", "Row", "snapshot", "unsent"]


@dataclass(frozen=True)
class Row:
    """One flow in one module; None: it is not known (yet)."""

    module: str
    flow: int
    """Its number in the module."""
    application: int
    """The application's process."""
    peer: str
    local: str
    chain: tuple[str, ...]
    bytes_outbound: int
    """Towards the network."""
    bytes_inbound: int
    rate_outbound: float | None = None
    """Bytes/s since the look before."""
    rate_inbound: float | None = None
    queued: int = 0
    """Bytes that wait in the module for the network."""
    cwnd: int | None = None
    """Packets."""
    srtt_us: int | None = None
    in_flight: int | None = None
    """Bytes sent and not acknowledged."""
    unsent: int | None = None
    """Bytes that wait for the network, in the module and in the kernel: all that may still be taken back."""
    yanked: int = 0
    """Outbound bytes that were taken back, ever."""
    retransmits: int | None = None
    bandwidth: float | None = None
    """Bytes/s of payload that the client can take, estimated (`modnet.estimate`)."""
    confidence: float = 0.0
    source: str | None = None
    """ "bpf" or "sampled"."""


def snapshot(tcp: Mapping[str, Any]) -> SimpleNamespace:
    """A published TCP state with the attributes of `modnet.estimate.Snapshot`."""
    packets = tuple(SimpleNamespace(**packet) for packet in tcp["packets"])
    return SimpleNamespace(**{**tcp, "packets": packets})


def unsent(flow: Mapping[str, Any]) -> int | None:
    """Bytes of a published flow that wait for the network: in the module's queue, held for somebody who takes
    them back, in the kernel. None: another module has the real socket.
    """
    tcp = flow.get("tcp")
    if not tcp:
        return None
    kernel: int = (tcp["write_seq"] - tcp["snd_nxt"]) % 2**32
    return kernel + int(flow["queued_outbound"]) + int(flow["held"])


@dataclass
class _Seen:
    """What is remembered of a flow between two looks."""

    at: float
    bytes_outbound: int
    bytes_inbound: int
    estimator: Bandwidth = field(default_factory=Bandwidth)


class Board:
    """Remembers what the next look is compared with. Flows that have gone are forgotten."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], _Seen] = {}

    def look(self, now: float, flows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Row]:
        """Rows of what was published at `now` (seconds on any clock that goes on): pairs of a module's name
        and a flow of its control socket's answer.
        """
        seen, rows = {}, []
        for module, flow in flows:
            key = (module, flow["id"])
            before = self._seen.get(key)
            after = _Seen(now, flow["bytes_outbound"], flow["bytes_inbound"])
            if before:
                after.estimator = before.estimator
            seen[key] = after
            rows.append(_row(module, flow, before, after))
        self._seen = seen
        return rows


def _row(module: str, flow: Mapping[str, Any], before: _Seen | None, after: _Seen) -> Row:
    known: dict[str, Any] = {}
    if before and after.at > before.at:
        seconds = after.at - before.at
        known["rate_outbound"] = (after.bytes_outbound - before.bytes_outbound) / seconds
        known["rate_inbound"] = (after.bytes_inbound - before.bytes_inbound) / seconds
    tcp = flow.get("tcp")
    if tcp:
        after.estimator.observe(snapshot(tcp))
        known |= {
            "cwnd": tcp["cwnd"],
            "srtt_us": tcp["srtt_us"],
            "in_flight": (tcp["snd_nxt"] - tcp["snd_una"]) % 2**32,
            "unsent": unsent(flow),
            "retransmits": tcp["retransmits"],
            "bandwidth": after.estimator.estimate,
            "confidence": after.estimator.confidence,
            "source": tcp["source"],
        }
    return Row(
        module=module,
        flow=flow["id"],
        application=flow["application"],
        peer=flow["peer"] or "-",
        local=flow["local"] or "-",
        chain=tuple(flow["chain"]),
        bytes_outbound=after.bytes_outbound,
        bytes_inbound=after.bytes_inbound,
        queued=flow["queued_outbound"],
        yanked=flow["bytes_yanked"],
        **known,
    )
