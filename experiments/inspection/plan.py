"""What is measured: the cases, and how long each lasts. Pure.

| kind | a connection that |
| --- | --- |
| steady | always has something to send, on a link of one rate; and fresh ones, read at their 30th packet |
| step | the same, while the rate goes from 10 to 1 Mbit/s and back |
| responses | carries responses of 50,000 bytes with pauses between |
| trace | always has something to send, while a recorded trace is replayed |

| place | the link is shaped |
| --- | --- |
| router | between the hosts, frame by frame: a client far away |
| bucket | the same, but 10,000 bytes pass at once after a pause: the head of each response |
| device | on the server's own device, by HTB behind segmentation offload: packets of up to 64 KB pass whole |

It must not measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from experiments.common.traces import Step

Kind: TypeAlias = Literal["steady", "step", "responses", "trace"]
KINDS = ("steady", "step", "responses", "trace")
RATES = (1, 2, 10, 50, 240)
CONTROLS = ("cubic", "bbr")
PLACES = ("router", "bucket", "device")
# Seven packets: with it the kernel's own rate is a quarter too much at the 30th.
BUCKET_BYTES = 10_000
TRACES = ("img1", "img2", "img3")

RESPONSE_BYTES = 50_000
PAUSE_S = 0.2
STEPS_MBIT = (10, 1, 10)
SETTLED_S = 1.0
"""So long after a step the estimate has to be right."""
FRESH_BYTES = 60 * 1448
"""What a fresh connection sends: it is read at its 30th packet."""


@dataclass(frozen=True)
class Length:
    """How long each kind lasts, in seconds, and how often what is short is repeated."""

    steady_s: float = 10.0
    fresh: int = 5
    responses: int = 9
    trace_s: float = 120.0
    step_s: float = 4.0

    @property
    def steps(self) -> list[Step]:
        """The steps, each as long as the others."""
        return [Step(self.step_s, mbit) for mbit in STEPS_MBIT]


QUICK = Length(steady_s=1.5, fresh=2, responses=3, trace_s=6.0, step_s=1.5)


@dataclass(frozen=True)
class Case:
    """One connection, or a few alike."""

    kind: Kind
    link: str
    """A rate in Mbit/s, the steps, or a trace's name."""
    control: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind} {self.link} {self.control} {self.place}"

    @property
    def mbit(self) -> float:
        """The rate that the link begins with."""
        if self.kind == "step":
            return STEPS_MBIT[0]
        return 1.0 if self.kind == "trace" else float(self.link)


@dataclass(frozen=True)
class Selection:
    """What the user asked for."""

    kinds: tuple[str, ...] = KINDS
    rates: tuple[str, ...] = tuple(map(str, RATES))
    controls: tuple[str, ...] = CONTROLS
    places: tuple[str, ...] = PLACES
    traces: tuple[str, ...] = TRACES


QUICK_SELECTION = Selection(rates=("2", "10", "50"), places=("router",), traces=("img2",))


def cases(selection: Selection) -> list[Case]:
    """The cases, those of one place and congestion control together: they share their hosts."""
    links = {
        "steady": selection.rates,
        "step": ("10-1-10",),
        "responses": selection.rates,
        "trace": selection.traces,
    }
    return [
        Case(kind, link, control, place)  # type: ignore[arg-type]
        for place in selection.places
        for control in selection.controls
        for kind in selection.kinds
        for link in links[kind]
        # A trace is a client far away; replayed once for each congestion control, since it takes long. A
        # bucket is of interest at the beginning only.
        if place == "router" or kind in ("steady", "responses") or (place, kind) == ("device", "step")
    ]
