"""A stream whose bytes are told by their place, so that a lost, doubled or misplaced one shows."""

from __future__ import annotations

PERIOD = 64 * 1021
_WHOLE = b"".join(
    f"{number:07d} ".encode() + bytes(range(97, 97 + 24)) + b"\n" * 32 for number in range(1021)
)
_TWICE = _WHOLE + _WHOLE


def pattern(start: int, count: int) -> bytes:
    """Bytes `start` to `start + count`."""
    out = bytearray()
    while len(out) < count:
        at = (start + len(out)) % PERIOD
        out += _TWICE[at : at + min(PERIOD, count - len(out))]
    return bytes(out)
