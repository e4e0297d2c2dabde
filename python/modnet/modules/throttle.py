"""Limits the rate of each flow.

    modnet run -m throttle,rate=1MB -- nginx
    modnet run -m throttle,rate=8Mbit/s,burst=256KiB,direction=outbound -- python3 -m http.server

A token bucket per flow and direction, in the engine: the bytes stay native. The first `burst` bytes pass at
once, the rest at `rate` bytes a second; who sends faster is stopped by back-pressure, nothing is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from modnet.module import Module
from modnet.settings import Rate, Size

if TYPE_CHECKING:
    from modnet.flow import Flow

__all__ = ["Throttle"]


class Throttle(Module):
    """Gives each flow so many bytes a second."""

    @dataclass(frozen=True)
    class Settings:
        """Per flow, and per direction where `direction` is both."""

        rate: Rate = field(metadata={"help": "bytes per second"})
        # 64 KiB is what one read of the engine brings: a smaller bucket would cut it, a larger one helps
        # short answers only.
        burst: Size = field(
            default=64 * 1024, metadata={"help": "bytes that pass at once before the rate applies"}
        )
        direction: Literal["outbound", "inbound", "both"] = field(
            default="both", metadata={"help": "outbound: from the application to the network"}
        )

        def __post_init__(self) -> None:
            if not 1 <= self.rate <= 1 << 50:
                raise ValueError("rate must be between 1 byte and 1 PiB per second")
            if not 1 <= self.burst <= 1 << 40:
                raise ValueError("burst must be between 1 byte and 1TiB")

    settings: Settings

    def opened(self, flow: Flow) -> None:
        """Sets the flow's buckets; from here on Python has nothing to do with it."""
        chosen = self.settings
        if chosen.direction in ("outbound", "both"):
            flow.limit("outbound", chosen.rate, chosen.burst)
        if chosen.direction in ("inbound", "both"):
            flow.limit("inbound", chosen.rate, chosen.burst)
