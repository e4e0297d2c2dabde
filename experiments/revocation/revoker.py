"""The module of the way `late`: passes on what the application writes, and decides as the other ways do.

It has no hook on data, so what it passes on is not copied through Python. It must not know of links.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modnet

from experiments.revocation import sender


class Revoker(modnet.Module):
    """Takes back what was not sent, and sends something new."""

    revocable = True

    @dataclass(frozen=True)
    class Settings:
        log: Path
        goodput_s: float
        decisions: int
        every_s: float
        seed: int

    settings: Settings

    def opened(self, flow: modnet.Flow) -> None:
        threading.Thread(target=self._decide, args=(flow,), daemon=True).start()

    def _decide(self, flow: Any) -> None:
        of = self.settings
        begun = time.monotonic()
        with of.log.open("a", buffering=1) as log:
            for number, at in enumerate(sender.times(of.goodput_s, of.decisions, of.every_s, of.seed), 1):
                time.sleep(max(0.0, begun + at - time.monotonic()))
                decided = time.monotonic_ns()
                with flow.lock():
                    # Nobody has read it for longer than a sample lasts, so it is taken now.
                    tcp = flow.tcp.snapshot()
                    taken = flow.yank(1 << 30)
                    flow.write(sender.new(number))
                flight = (tcp.packets_out + tcp.retrans_out - tcp.sacked_out - tcp.lost_out) * tcp.mss
                row = {
                    "at": decided,
                    "taken": len(taken),
                    "took_new": sender.has_new(taken, number - 1),
                    "unsent": tcp.write_seq - tcp.snd_nxt,
                    "flight": flight,
                    "rtt_us": tcp.srtt_us,
                    "min_rtt_us": tcp.min_rtt_us,
                    "mss": tcp.mss,
                }
                log.write(json.dumps(row) + "\n")
