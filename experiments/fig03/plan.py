"""What is measured: the cells (size, mode, link), the variants in each, and the paper's values. Pure.

| word | meaning |
| --- | --- |
| cell | one file size, in one mode (`new`: a connection each; `keep`: kept alive), on one link |
| variant | what stands between nginx and the client |
| fresh | the forwarder with `MODNET_PAIRS=fresh`: no pair outlives its flow |
| late | the forwarder with `revocable=yes`: what is outbound waits where it can be taken back |
| before | the forwarder of another build (`--before`), whose figures a change must not spoil |
| checked cell | one that a bound is about; `--quick` and `--cells checked` measure only these |

It must not measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NATIVE, FORWARDER, FRESH, LATE, BEFORE, PYTHON, NGINX, HAPROXY, PROTOTYPE = (
    "native",
    "forwarder",
    "fresh",
    "late",
    "before",
    "python",
    "nginx-proxy",
    "haproxy",
    "prototype",
)
CHAINS = {"chain-2": 2, "chain-5": 5, "chain-10": 10}
VARIANTS = (NATIVE, FORWARDER, FRESH, LATE, BEFORE, *CHAINS, PYTHON, NGINX, HAPROXY, PROTOTYPE)
ASKED = (BEFORE, PROTOTYPE)
"""Variants that are measured where what they need was named."""
PRODUCT = (FORWARDER, FRESH, LATE, *CHAINS, PYTHON)
SIZES = {"100B": 100, "1KB": 1_000, "10KB": 10_000, "100KB": 100_000, "1MB": 1_000_000}
MODES = ("new", "keep")
LINKS: dict[str, int | None] = {"unshaped": None, "1gbit": 1_000}


@dataclass(frozen=True)
class Cell:
    """One file size, in one mode, on one link."""

    size: str
    mode: str
    link: str

    def __str__(self) -> str:
        return f"{self.size} {self.mode} {self.link}"


# Variants that a checked cell needs beside native and forwarder; chains are of interest where a connection is
# short.
_CHECKED: dict[Cell, tuple[str, ...]] = {
    Cell("100B", "new", "unshaped"): VARIANTS,
    Cell("10KB", "new", "unshaped"): (NATIVE, FORWARDER, FRESH, BEFORE, PROTOTYPE),
    Cell("1KB", "keep", "unshaped"): (NATIVE, FORWARDER, FRESH, BEFORE, PROTOTYPE),
    Cell("1MB", "new", "unshaped"): (NATIVE, FORWARDER, FRESH, LATE, BEFORE, NGINX, HAPROXY, PROTOTYPE),
    Cell("1MB", "new", "1gbit"): (NATIVE, FORWARDER, FRESH, LATE, BEFORE),
}
CHAIN_CELLS = (Cell("100B", "new", "unshaped"), Cell("1KB", "keep", "unshaped"))


@dataclass(frozen=True)
class Selection:
    """What the user asked for."""

    variants: tuple[str, ...]
    sizes: tuple[str, ...] = tuple(SIZES)
    modes: tuple[str, ...] = MODES
    links: tuple[str, ...] = tuple(LINKS)
    checked_only: bool = False


def cells(selection: Selection) -> dict[Cell, tuple[str, ...]]:
    """The cells to measure, each with its variants, native first; links in turn, since reshaping disturbs."""
    found = {}
    for link in selection.links:
        for mode in selection.modes:
            for size in selection.sizes:
                cell = Cell(size, mode, link)
                if selection.checked_only:
                    wanted = _CHECKED.get(cell, ())
                else:
                    wanted = tuple(v for v in VARIANTS if v not in CHAINS or cell in CHAIN_CELLS)
                variants = tuple(v for v in wanted if v in selection.variants or v == NATIVE)
                # A ratio needs something beside its base.
                if len(variants) > 1 or selection.variants == (NATIVE,):
                    found[cell] = variants
    return found


def paper(variant: str, cell: Cell) -> dict[str, Any] | None:
    """The paper's ratio to native: Figure 3 and §5.2, new connections on one machine of 4 cores; None where
    it gives none.

    Figure 3's own axis is not in the text; §5.2 says an overhead of 15-25 % for small files that approaches 0
    once the network is the bound (1 and 10 Gbit/s), 50 % for the proxy, a drop of 52 % and 75 % for chains of
    5 and 10 at 100 bytes.
    """
    small = cell.size in {"100B", "1KB"} and cell.mode == "new"
    ratio: tuple[float, float] | None = None
    if variant == FORWARDER and small:
        ratio = (0.75, 0.85)
    elif variant == FORWARDER and cell.size == "1MB" and cell.mode == "new":
        ratio = (1.0, 1.0)
    elif variant == NGINX and small:
        ratio = (0.5, 0.5)
    elif cell.size == "100B" and cell.mode == "new" and variant in {"chain-5", "chain-10"}:
        ratio = (0.48, 0.48) if variant == "chain-5" else (0.25, 0.25)
    if ratio is None:
        return None
    return {
        "ratio": list(ratio),
        "source": "§5.2 and Figure 3: 400 clients on two machines, a 4-core server, Linux 3.13",
    }
