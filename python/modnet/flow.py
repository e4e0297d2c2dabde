"""`Flow`: one stolen connection as a module sees it. Implemented in Rust, see `_native.pyi` for every member.

Apart from `modnet.module` so that a module can be checked and tested without loading the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modnet import _native

__all__ = ["Direction", "Flow"]

Direction: TypeAlias = Literal["outbound", "inbound", "both"]
"""outbound: application to network; inbound: network to application."""

if TYPE_CHECKING:

    class Flow(_native.Flow):  # type: ignore[misc]  # final, but this is for type checkers only
        """One stolen connection; a module may keep any attribute of its own on it."""

        # Not in the stub: the binary has a __dict__ and no such methods, and the two are compared.
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

else:
    Flow = _native.Flow
