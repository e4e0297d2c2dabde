"""Rules of the module `filter`: read from TOML, checked, and asked.

    [[rule]]
    path = "/reports/*"
    modules = ["gzip"]

Rules: a mistake is told with file and line before anything starts. A rule is asked with what is known of a
flow so far: it answers yes, no, or *not yet*; the first that says yes decides, and one that says not yet is
waited for, since it may still be the first. Must not: know flows, or do more I/O than reading the file.
"""

from __future__ import annotations

import enum
import fnmatch
import ipaddress
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from modnet.errors import SystemRefused, UsageError, suggestion
from modnet.modules._head import UNKNOWN, Request, Response, Unknown

__all__ = ["LATER", "Facts", "Rule", "Rules", "read"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,30}")
_MOST = 15
"""Modules of a rule: a chain has at most 16."""


class _Later(enum.Enum):
    LATER = "not known yet"


LATER: Final = _Later.LATER


@dataclass
class Facts:
    """What is known of a flow; None: not yet."""

    client: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    """Known from the beginning: None means that nobody can tell."""
    port: int | None
    """Likewise."""
    dice: Sequence[float]
    """From 0 to 1, one for each rule."""
    request: Request | Unknown | None = None
    response: Response | Unknown | None = None


@dataclass(frozen=True)
class Rule:
    """All that is set must be true; lists: one of them. `modules` empty: the flow goes on natively."""

    line: int
    modules: tuple[str, ...]
    host: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    client: tuple[Network, ...] = ()
    port: tuple[int, ...] = ()
    share: float = 1.0

    def asked(self, facts: Facts, dice: float) -> bool | None:
        """Whether it is for such a flow; None: that cannot be said yet."""
        if self.client and not any(_is_in(facts.client, network) for network in self.client):
            return False
        if (self.port and facts.port not in self.port) or dice >= self.share:
            return False
        answers = (
            _matches(self.host, facts.request, lambda request: request.host),
            _matches(self.path, facts.request, lambda request: request.path),
            _matches(self.type, facts.response, lambda response: response.type),
        )
        if False in answers:
            return False
        return None if None in answers else True


def _matches(patterns: Sequence[str], what: Any, of: Callable[[Any], str]) -> bool | None:
    if not patterns:
        return True
    if what is None or what is UNKNOWN:
        return None if what is None else False
    return any(fnmatch.fnmatchcase(of(what), pattern) for pattern in patterns)


def _is_in(client: ipaddress.IPv4Address | ipaddress.IPv6Address | None, network: Network) -> bool:
    return client is not None and client.version == network.version and client in network


@dataclass(frozen=True)
class Rules:
    """All of a file, in its order."""

    file: Path
    all: tuple[Rule, ...]

    def choose(self, facts: Facts) -> int | Literal[_Later.LATER] | None:
        """The index of the rule that decides; None: no rule is for such a flow; LATER: not known yet."""
        for index, rule in enumerate(self.all):
            answer = rule.asked(facts, facts.dice[index])
            if answer is None:
                return LATER
            if answer:
                return index
        return None

    def check_living(self, is_living: Callable[[str], bool]) -> None:
        """Raises UsageError for a module that does not run."""
        for rule in self.all:
            for name in rule.modules:
                if not is_living(name):
                    raise UsageError(
                        f"{self.file}:{rule.line}: no module named {name} is running; "
                        f"start it with: modnet module start {name}"
                    )


def read(path: Path) -> Rules:
    """Reads and checks a file. UsageError: what is wrong, and where; SystemRefused: it cannot be read."""
    try:
        text = path.read_text()
    except OSError as error:
        raise SystemRefused(f"cannot read the rules: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: rules are UTF-8: {error.reason} at byte {error.start}") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        # Else it says: at the end of the document.
        number = at[1] if at else len(text.splitlines())
        raise UsageError(f"{path}:{number}: {error}") from error
    lines = _Lines(path, text)
    for key in document:
        if key != "rule":
            raise UsageError(f"{lines.at(None, key)}: there is no {key!r}; a file of rules has [[rule]] only")
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{lines.at(None, 'rule')}: a rule begins with [[rule]]")
    return Rules(path, tuple(_rule(table, index, lines) for index, table in enumerate(tables)))


def _rule(table: dict[str, Any], index: int, lines: _Lines) -> Rule:
    made: dict[str, Any] = {"line": lines.number(index, None), "modules": None}
    for key, value in table.items():
        where = lines.at(index, key)
        if key not in _KEYS:
            raise UsageError(f"{where}: a rule has no {key!r}{suggestion(key, _KEYS)}")
        try:
            made[key] = _KEYS[key](value)
        except ValueError as error:
            raise UsageError(f"{where}: {key}: {error}") from error
    if made["modules"] is None:
        raise UsageError(f'{lines.at(index, None)}: a rule says which modules: modules = ["gzip"], or []')
    return Rule(**made)


class _Lines:
    """Where in a file the keys of each rule stand; TOML's reader does not say."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.rules: list[dict[str | None, int]] = []
        self.others: dict[str | None, int] = {}
        place = self.others
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(r"\s*\[\[\s*rule\s*\]\]", line):
                place = {None: number}
                self.rules.append(place)
            elif found := re.match(r"\s*(\[*)\s*[\"']?([A-Za-z0-9_\-]+)[\"']?\s*[\].=]", line):
                place = self.others if found[1] else place
                place.setdefault(found[2], number)

    def number(self, index: int | None, key: str | None) -> int:
        """The line; that of the rule, or the first, where the key is not seen (an array of tables, say)."""
        if index is None:
            return self.others.get(key, 1)
        place = self.rules[index] if index < len(self.rules) else self.others
        return place.get(key) or place.get(None) or 1

    def at(self, index: int | None, key: str | None) -> str:
        """File and line."""
        return f"{self.path}:{self.number(index, key)}"


# --- values ---


def _texts(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
        raise ValueError("a text, or a list of texts")
    return tuple(values)


def _hosts(value: Any) -> tuple[str, ...]:
    hosts = _texts(value)
    for host in hosts:
        if "/" in host or (":" in host and not host.startswith("[")):
            raise ValueError(f"{host!r} is a name without a port, as *.example.com")
    return tuple(host.lower() for host in hosts)


def _paths(value: Any) -> tuple[str, ...]:
    paths = _texts(value)
    for path in paths:
        if path[0] not in "/*":
            raise ValueError(f"{path!r} begins with / or *")
        if "?" in path:
            raise ValueError(f"{path!r} has a query; a path is compared without it")
    return paths


def _types(value: Any) -> tuple[str, ...]:
    types = _texts(value)
    for media in types:
        if not re.fullmatch(r"[^/;\s]+/[^/;\s]+|\*", media):
            raise ValueError(f"{media!r} is no media type, as text/* or application/json")
    return tuple(media.lower() for media in types)


def _networks(value: Any) -> tuple[Network, ...]:
    networks = []
    for text in _texts(value):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"{error}; a network is 192.0.2.0/24 or 2001:db8::/32") from error
    return tuple(networks)


def _ports(value: Any) -> tuple[int, ...]:
    ports = value if isinstance(value, list) else [value]
    whole = all(isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536 for port in ports)
    if not ports or not whole:
        raise ValueError("a port from 1 to 65535, or a list of them")
    return tuple(ports)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("above 0 and at most 1: 0.1 is a tenth of the flows")
    return float(value)


def _modules(value: Any) -> tuple[str, ...]:
    if value == []:
        return ()
    names = _texts(value)
    if len(names) > _MOST:
        raise ValueError(f"at most {_MOST} modules")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a module's name: letters, digits, _ - and ., at most 31")
    return names


_KEYS: dict[str, Callable[[Any], Any]] = {
    "host": _hosts,
    "path": _paths,
    "type": _types,
    "client": _networks,
    "port": _ports,
    "share": _share,
    "modules": _modules,
}
