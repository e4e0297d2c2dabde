"""Two modules that differ in one read: what that and all that follows from it cost is measured by cost.py.

Bytes pass natively through both. They must not do anything else.
"""

from __future__ import annotations

from modnet import Flow, Module


class Opened(Module):
    """Is told of each flow, and does nothing."""

    def opened(self, flow: Flow) -> None:
        """Nothing."""


class Reading(Module):
    """Reads each flow's state once: from then on the kernel writes it, with every packet and send."""

    def opened(self, flow: Flow) -> None:
        """One read."""
        flow.tcp.cwnd  # noqa: B018 - the read is what is measured
