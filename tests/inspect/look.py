"""A module that writes the TCP state of its flow into a file named after it, again and again."""

import json
from dataclasses import dataclass
from pathlib import Path

import modnet

FIELDS = ("cookie", "updated_ns", "cwnd", "snd_una", "rcv_nxt")


class Look(modnet.Module):
    """Looks at the state of the flow that was opened last."""

    @dataclass(frozen=True)
    class Settings:
        file: str = ""

    settings: Settings

    def start(self):
        self.flow = None
        self.every(0.02, self.write)

    def opened(self, flow):
        self.flow = flow

    def inbound(self, flow, data):
        return data

    def write(self):
        if self.flow is None:
            return
        state = self.flow.tcp.snapshot()
        told = [getattr(state, field) for field in FIELDS] + [state.source, repr(state), repr(state.packets)]
        part = Path(self.settings.file + ".part")
        part.write_text(json.dumps(told))
        part.replace(self.settings.file)
