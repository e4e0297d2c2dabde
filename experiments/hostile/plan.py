"""What is compared: without and with the module, at peace and under each attack; and the bounds. Pure."""

from __future__ import annotations

NATIVE, GZIP = "native", "gzip"
VARIANTS = (NATIVE, GZIP)
PEACE = "none"
ATTACKS: dict[str, str] = {
    "slow-heads": "500 connections, each sends a byte of a head every half second",
    "long-heads": "4 connections, each sends heads of 100 MB, one megabyte every 40 ms",
    "bombs": "2 connections, each asks for zeros without end, which shrink a thousandfold",
    "unread": "50 connections, each asks for noise without end and never reads",
}
SITUATIONS = (PEACE, *ATTACKS)
# The issue's own bound.
SLOWER = "<= 1.5"
# 500 held heads are 32 MB; a body's compressor is 0.3 MB (gzip.py), and there are 52.
GROWTH = "<= 64"
