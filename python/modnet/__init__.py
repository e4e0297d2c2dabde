"""ModNet: small modules on the TCP sockets of unmodified programs.

    import modnet

    class Shout(modnet.Module):
        def outbound(self, flow, data):
            return bytes(data).upper()

    $ modnet run -m shout.py:Shout -- python3 -m http.server

| name | is |
| --- | --- |
| `Module` | what a module derives from |
| `Flow` | one stolen connection, given to every hook |
| `Size`, `Rate`, `Duration` | type hints of settings with units |
| `ModnetError` and its three children | everything that is raised on purpose |
| `modnet.testing` | plays events into a module with no sockets |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modnet.errors import ModnetError, PeerError, SystemRefused, UsageError
from modnet.module import Data, Module
from modnet.settings import Duration, Rate, Size

if TYPE_CHECKING:
    from modnet.flow import Direction, Flow

__all__ = [
    "Data",
    "Direction",
    "Duration",
    "Flow",
    "ModnetError",
    "Module",
    "PeerError",
    "Rate",
    "Size",
    "SystemRefused",
    "UsageError",
]


def __getattr__(name: str) -> Any:
    # The extension is loaded by those who use it: `modnet run` starts in front of every command, and checks
    # modules without it.
    if name in ("Direction", "Flow"):
        from modnet import flow

        return getattr(flow, name)
    raise AttributeError(f"module 'modnet' has no attribute {name!r}")
