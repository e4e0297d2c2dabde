"""What is tried: links, families, congestion controls, options, and what happens on a connection. Pure.

| link | between the hosts |
| --- | --- |
| loopback | no hosts: both ends in the server's namespace |
| htb 50 | 50 Mbit/s behind segmentation offload, a device's queue |
| tbf 10 | 10 Mbit/s, 40 packets may wait |
| tbf 100 | 100 Mbit/s, 132 packets may wait |
| lossy | 40 Mbit/s, 11 packets may wait: every burst loses some |

| script | the connection |
| --- | --- |
| bulk | always has something to send |
| start | is yanked from as soon as it is open |
| closed | its peer stops reading until its window is closed, and reads on later |
| duplex | gets data all the while, and leaves some of it unread |
| half | its peer has said that it sends no more |

It must not measure.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.common.shaping import Shape

LINKS: dict[str, Shape | None] = {
    "loopback": None,
    "htb 50": Shape(50, 256 * 1024),
    "tbf 10": Shape(10, 16 * 1024, 40, "tbf"),
    "tbf 100": Shape(100, 32 * 1024, 132, "tbf"),
    "lossy": Shape(40, 10 * 1024, 11, "tbf"),
}
LOSSY = "lossy"
FAMILIES = ("ipv4", "ipv6")
CONTROLS = ("cubic", "bbr")
SCRIPTS = ("bulk", "start", "closed", "duplex", "half")
OPTIONS = ("both", "no timestamps", "no sack", "neither")
"""TCP options of both hosts."""

SIZES = (10_000, 100_000, 1_000_000, 4_000_000)
YANKS = 8
"""On a connection."""
# Every fourth connection is a control; every second where stalls are compared, which are few.
CONTROL_EVERY = 4
CONTROL_EVERY_HEAVY = 2


@dataclass(frozen=True)
class Length:
    """How many trials, yanks of each size whose cost is measured, rounds of going on after one."""

    trials: int = 10_000
    costs: int = 200
    resumes: int = 7


QUICK = Length(trials=300, costs=40, resumes=1)


@dataclass(frozen=True)
class Case:
    """Where a number of connections is made."""

    link: str
    options: str

    def __str__(self) -> str:
        return f"{self.link}, {self.options}"


@dataclass(frozen=True)
class Script:
    """What happens on one connection, all of it told by `seed`."""

    family: str
    control: str
    kind: str
    yanks: int
    """0: a control."""
    seed: int


def loses_much(link: str, options: str) -> bool:
    """Where connections stall without a yank too, so that shares are compared.

    Without timestamps and SACK a loss is found by three duplicate acknowledgements, one in a round trip, or
    by the timer; a queue that overflows in slow start loses dozens.
    """
    return link == LOSSY or (options == "neither" and link.startswith("tbf"))


def cases(links: tuple[str, ...]) -> list[Case]:
    """All of them, those of one link together."""
    return [Case(link, options) for link in links for options in OPTIONS]


# Bytes a second that a reader takes: a slow one, one that is about as fast as a link, any.
PACES = (1e6, 8e6, 1e12)


def trials_of(case: Case, links: tuple[str, ...], trials: int) -> int:
    """How many of all trials a case has: half of a link's with both options, a sixth with each other."""
    share = {"both": 1 / 2}.get(case.options, 1 / 6)
    return max(YANKS, round(trials * share / len(links)))


def scripts(case: Case, seed: int) -> Iterator[Script]:
    """Connections without end, controls among them."""
    chance = random.Random(f"{case} {seed}")
    every = list(itertools.product(FAMILIES, CONTROLS, SCRIPTS))
    kinds = itertools.cycle(every)
    share = CONTROL_EVERY_HEAVY if loses_much(case.link, case.options) else CONTROL_EVERY
    for number in itertools.count():
        control = number % share == share - 1
        family, cc, kind = chance.choice(every) if control else next(kinds)
        yield Script(family, cc, kind, 0 if control else YANKS, chance.randrange(1 << 30))
