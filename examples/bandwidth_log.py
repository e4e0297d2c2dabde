"""Prints each client's bandwidth: modnet run -m examples/bandwidth_log.py -- python3 -m http.server"""

import modnet
from modnet.estimate import Bandwidth


class BandwidthLog(modnet.Module):
    def start(self) -> None:
        self.known: dict[modnet.Flow, Bandwidth] = {}
        self.every(0.005, self.look)

    def opened(self, flow: modnet.Flow) -> None:
        self.known[flow] = Bandwidth()

    def look(self) -> None:
        for flow, bandwidth in list(self.known.items()):
            bandwidth.observe(flow.tcp.snapshot())

    def closed(self, flow: modnet.Flow) -> None:
        print(flow.peer, self.known.pop(flow).best(), flush=True)
