"""The cases: hosts, links and transfers, and what each estimator says at every reading. It must not judge."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from modnet.estimate import Bandwidth

from experiments.common.shaping import Shape
from experiments.common.traces import Replay, Step
from experiments.inspection import plan, transfer
from experiments.net import Hosts

ESTIMATORS = ("bandwidth", "rate", "pair", "kernel")
_THIRTIETH = 30
# A slow link's queue: 2.4 s at 1 Mbit/s, as mobile links have. A device's usual thousand would be 12 s.
_BUFFER_PACKETS = 200


@dataclass(frozen=True)
class Moment:
    """One reading: when, the truth in bytes/s of payload, and what each estimator says (None: nothing)."""

    at_s: float
    truth: float
    said: Mapping[str, float | None]
    confidence: float
    queued: bool
    """Data was waiting to be sent."""


@dataclass
class Run:
    """What came of one case. `fresh`: the 30th packet's moments; `starts`: the beginnings of responses."""

    moments: list[Moment] = field(default_factory=list)
    fresh: list[Moment] = field(default_factory=list)
    starts: list[Moment] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """How long, and where traces are from."""

    length: plan.Length
    traces: Mapping[str, Sequence[Step]]

    def run(self, cases: Sequence[plan.Case], done: Callable[[], None]) -> dict[plan.Case, Run]:
        """Measures all; `done` is called after each."""
        runs = {}
        together = itertools.groupby(cases, key=lambda case: (case.place, case.control))
        for (place, control), group in together:
            burst = plan.BUCKET_BYTES if place == "bucket" else None
            with Hosts(control, router=place != "device") as hosts:
                for case in group:
                    hosts.shape(Shape(case.mbit, burst, _BUFFER_PACKETS))
                    runs[case] = getattr(self, f"_{case.kind}")(case, hosts)
                    done()
        return runs

    def _steady(self, case: plan.Case, hosts: Hosts) -> Run:
        truth = [(0, case.mbit)]
        run = Run(_moments(transfer.bulk(hosts, self.length.steady_s), truth))
        for _ in range(self.length.fresh):
            found = transfer.fresh(hosts)
            for reading, moment in zip(found.readings, _moments(found, truth), strict=True):
                if reading.delivered >= _THIRTIETH:
                    run.fresh.append(moment)
                    break
        return run

    def _responses(self, case: plan.Case, hosts: Hosts) -> Run:
        found = transfer.responses(hosts, self.length.responses, plan.RESPONSE_BYTES, plan.PAUSE_S)
        moments = _moments(found, [(0, case.mbit)])
        # From the second response on: what is known when it is to be sent.
        return Run(moments, starts=[moments[mark - 1] for mark in found.marks[1:]])

    def _step(self, case: plan.Case, hosts: Hosts) -> Run:
        return self._replayed(hosts, self.length.steps, math.inf)

    def _trace(self, case: plan.Case, hosts: Hosts) -> Run:
        return self._replayed(hosts, self.traces[case.link], self.length.trace_s)

    def _replayed(self, hosts: Hosts, steps: Sequence[Step], most_s: float) -> Run:
        steps = list(_first(steps, most_s))
        begun = time.monotonic_ns()
        with Replay(hosts.set_rate, steps) as replay:
            found = transfer.bulk(hosts, sum(step.seconds for step in steps))
        return Run(_moments(found, [(begun, steps[0].mbit), *replay.rates]))


def _first(steps: Iterable[Step], seconds: float) -> Iterator[Step]:
    """The steps that begin within so many seconds."""
    for step in steps:
        if seconds <= 0:
            return
        yield step
        seconds -= step.seconds


def _moments(found: transfer.Transfer, rates: Sequence[tuple[int, float]]) -> list[Moment]:
    """Lets the estimators see every reading in turn."""
    bandwidth = Bandwidth()
    moments = []
    begun = found.readings[0].updated_ns
    coming = list(rates)
    truth = Shape(coming[0][1]).payload
    for reading in found.readings:
        while coming and coming[0][0] <= reading.updated_ns:
            truth = Shape(coming.pop(0)[1]).payload
        bandwidth.observe(reading)
        best = bandwidth.best()
        said = {
            "bandwidth": best.rate if best else None,
            "rate": bandwidth.rate.recent,
            "pair": bandwidth.pair.estimate,
            "kernel": float(reading.delivery_rate) or None,
        }
        at_s = (reading.updated_ns - begun) / 1e9
        queued = reading.write_seq != reading.snd_nxt
        moments.append(Moment(at_s, truth, said, best.confidence if best else 0.0, queued))
    return moments
