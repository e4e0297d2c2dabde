"""Chooses which modules a flow gets, gives it to them, and is gone.

    modnet module start throttle,rate=1MB
    modnet run -m filter,rules=rules.toml -- nginx

    # rules.toml
    [[rule]]
    client = "192.0.2.0/24"     # and all else that is set; of a list, one
    modules = []                # none: the flow goes on natively

    [[rule]]
    path = ["/reports/*", "*.iso"]
    modules = ["throttle"]

The first rule for which everything is true decides; where none is, the flow goes on natively.

| key | is compared with |
| --- | --- |
| `client` | the client's address: networks |
| `port` | the port that the client has connected to |
| `share` | chance: 0.1 is a tenth of the flows |
| `host`, `path` | the connection's first request, without port and query: patterns with `*`, `?`, `[ ]` |
| `type` | the `Content-Type` of its response, without parameters: patterns |
| `modules` | nearest to the application first: names of modules that run (`modnet module start`) |

A flow is a whole connection: later requests on it go where the first one did. What is decided by client,
port and share alone is decided before the first byte; what needs the request holds its head (16 KiB at
most) until it is whole, and what needs the type lets the request pass and holds the response's head. The
new modules read what was held, and are shown a request that has passed. What is not HTTP/1, or not plainly
so, is true for no `host`, `path` and `type`.

The rules are read anew on SIGHUP and by `modnet module reload filter`, for flows that come after; wrong
ones change nothing. A module that has ended since is counted (`absent`), and its flows go on natively.
"""

from __future__ import annotations

import ipaddress
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modnet.module import Data, Module
from modnet.modules._head import UNKNOWN, Response, request, response
from modnet.modules._rules import LATER, Facts, Rules, read

if TYPE_CHECKING:
    from modnet.flow import Flow

__all__ = ["Filter"]

_PASSED = 256 * 1024
"""Bytes of a request that are kept for modules that join at its response; a longer one has no type."""


class _Choice:
    """What is being found out about one flow."""

    def __init__(self, rules: Rules, facts: Facts) -> None:
        self.rules = rules
        self.facts = facts
        self.request = b""
        """Held, until its head is whole."""
        self.response = b""
        """Likewise."""
        self.passed = b""
        """Of the request, what went on to the application before the response came."""
        self.has_answer = False
        """The application has spoken before a request was whole."""


class Filter(Module):
    """Gives each flow to the modules that its rule names."""

    @dataclass(frozen=True)
    class Settings:
        """Where the rules are."""

        rules: Path = field(metadata={"help": "a TOML file of [[rule]]s"})

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        """Reads the rules, so that mistakes are told before anything starts."""
        super().__init__(settings)
        self._rules = read(settings.rules)
        self._lock = threading.Lock()
        self._counted: dict[str, int] = {}

    def start(self) -> None:
        """Refuses to start where a module of the rules does not run."""
        self._rules.check_living(_is_living)

    def reload(self) -> None:
        """Reads the rules anew."""
        rules = read(self.settings.rules)
        rules.check_living(_is_living)
        self._rules = rules

    def counters(self) -> Mapping[str, int]:
        """Flows: `rule_1` and so on, by rule; `native`; `absent`, without its modules; `not_http`."""
        with self._lock:
            return dict(self._counted)

    # --- hooks ---

    def opened(self, flow: Flow) -> None:
        """Decides what needs no byte."""
        rules = self._rules
        client = None if flow.peer is None else _plain(flow.peer[0])
        port = None if flow.local is None else flow.local[1]
        flow.choice = _Choice(rules, Facts(client, port, [random.random() for _ in rules.all]))
        self._decide(flow)

    def inbound(self, flow: Flow, data: memoryview) -> Data:
        """Holds the request's head until it is whole."""
        choice = flow.choice
        if choice.facts.request is None:
            choice.request += data
            choice.facts.request = request(choice.request)
            return b"" if choice.facts.request is None else self._with_request(flow)
        if len(choice.passed) <= _PASSED:
            choice.passed += data
        return data

    def outbound(self, flow: Flow, data: memoryview) -> Data:
        """Holds the response's head until it is whole."""
        choice = flow.choice
        if choice.facts.request is not None:
            choice.response += data
            return self._with_response(flow)
        choice.has_answer = True
        if not choice.request:
            # The application speaks first: that is no HTTP. (Else a request has begun, and is refused,
            # perhaps.)
            choice.facts.request = UNKNOWN
            self._with_request(flow)
        return data

    def inbound_end(self, flow: Flow) -> bytes:
        """No request will be whole any more."""
        if flow.choice.facts.request is None:
            flow.choice.facts.request = UNKNOWN
            return self._with_request(flow)
        return b""

    def outbound_end(self, flow: Flow) -> bytes:
        """No response will be."""
        choice = flow.choice
        choice.has_answer = True
        if choice.facts.request is None:
            # What is held of it is passed by the hook that it came to.
            return b""
        choice.facts.response = UNKNOWN
        self._decide(flow)
        held: bytes = choice.response
        return held

    # --- the decision ---

    def _with_request(self, flow: Flow) -> bytes:
        """The request is known, or that there is none. What was held goes on, here or there."""
        choice = flow.choice
        if choice.facts.request is UNKNOWN or choice.has_answer:
            choice.facts.response = UNKNOWN
        self._decide(flow)
        held: bytes = choice.request
        choice.request, choice.passed = b"", held
        return held

    def _with_response(self, flow: Flow) -> bytes:
        """What goes on of a response whose head is being waited for."""
        choice = flow.choice
        interim = 0
        found = response(choice.response)
        while isinstance(found, Response) and found.status < 200 and found.status != 101:
            # 100 Continue and its like: another follows.
            interim += found.length
            found = response(choice.response[interim:])
        if found is None:
            # The client waits for them.
            going, choice.response = choice.response[:interim], choice.response[interim:]
            return bytes(going)
        choice.facts.response = UNKNOWN if len(choice.passed) > _PASSED else found
        self._decide(flow)
        held: bytes = choice.response
        return held

    def _decide(self, flow: Flow) -> None:
        choice = flow.choice
        chosen = choice.rules.choose(choice.facts)
        if chosen is LATER:
            return
        modules = () if chosen is None else choice.rules.all[chosen].modules
        if choice.facts.request is UNKNOWN:
            self._count("not_http")
        self._count("native" if chosen is None else f"rule_{chosen + 1}")
        if not modules:
            flow.forward()
            return
        try:
            flow.yield_to(modules, passed=choice.passed)
        except OSError:
            self._count("absent")
            flow.forward()

    def _count(self, name: str) -> None:
        with self._lock:
            self._counted[name] = self._counted.get(name, 0) + 1


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address; of an IPv4 client of a dual-stack listener, the IPv4 one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _is_living(name: str) -> bool:
    from modnet.registry import Registry

    return Registry().is_living(name)
