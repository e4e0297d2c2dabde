"""Passes everything on: the cheapest module there is, to measure what delegation costs and to try a chain.

    modnet run -m forwarder -- nginx
    modnet run -m forwarder -m forwarder,as=second -- nginx

It has no hook, so that no byte ever enters Python.
"""

from __future__ import annotations

from modnet.module import Module

__all__ = ["Forwarder"]


class Forwarder(Module):
    """Passes all bytes on in both directions."""
