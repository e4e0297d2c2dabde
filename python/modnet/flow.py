"""`Flow`: one stolen connection as a module sees it. Implemented in Rust, see `_native.pyi` for every member.

Apart from `modnet.module` so that a module can be checked and tested without loading the engine.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from modnet._native import Flow

__all__ = ["Direction", "Flow"]

Direction: TypeAlias = Literal["outbound", "inbound", "both"]
"""outbound: application to network; inbound: network to application."""
