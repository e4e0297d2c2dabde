"""Module `filter`: what its rules decide and when, what it holds and gives along, its mistakes by line."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modnet.errors import ModnetError, SystemRefused, UsageError
from modnet.loader import load, parse
from modnet.modules._head import MOST, UNKNOWN, Request, Response, request, response
from modnet.modules.filter import Filter
from modnet.testing import Playback

GET = b"GET /reports/a.csv?x=1 HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: example.com\r\n\r\n"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\n\r\n<p>"
PNG = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\nPNG"


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Filter]:
    """A filter with these rules."""
    numbers = itertools.count()

    def make(text: str) -> Filter:
        file = tmp_path / f"rules{next(numbers)}.toml"
        file.write_text(text)
        module = load(parse(f"filter,rules={file}"))
        assert isinstance(module, Filter)
        return module

    return make


def rule(modules: str = "gzip", **keys: Any) -> str:
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in keys.items()]
    return "\n".join(["[[rule]]", *lines, f"modules = {modules.split()!r}".replace("'", '"'), ""])


def yielded(playback: Playback) -> tuple[str, ...] | None:
    """To whom; None: the flow is native."""
    for command in playback.commands:
        if command[0] == "yield_to":
            assert playback.has_left
            return tuple(command[1])
    assert playback.commands == [("forward", "both")]
    return None


@pytest.mark.parametrize(
    "keys, to",
    [
        ({}, "gzip"),
        ({"client": "192.0.2.0/24"}, "gzip"),
        ({"client": "198.51.100.0/24"}, None),
        ({"client": ["2001:db8::/32", "192.0.2.1/32"]}, "gzip"),
        ({"port": 80}, "gzip"),
        ({"port": [81, 82]}, None),
        ({"port": 80, "client": "198.51.100.0/24"}, None),
        ({"share": 1}, "gzip"),
        ({"share": 1e-300}, None),
    ],
)
def test_what_needs_no_byte_is_decided_before_the_first(
    made: Callable[[str], Filter], keys: dict[str, Any], to: str | None
) -> None:
    playback = Playback(made(rule(**keys)))
    assert yielded(playback) == (to and (to,))
    assert playback.carried == {"outbound": b"", "inbound": b"", "passed": b""}


def test_an_ipv4_client_of_a_dual_stack_listener_is_an_ipv4_client(made: Callable[[str], Filter]) -> None:
    module = made(rule(client="192.0.2.0/24"))
    assert yielded(Playback(module, peer=("::ffff:192.0.2.7", 1))) == ("gzip",)
    assert yielded(Playback(module, peer=("fe80::1%eth0", 1))) is None
    assert yielded(Playback(module, peer=None)) is None


@pytest.mark.parametrize(
    "keys, to",
    [
        ({"path": "/reports/*"}, "gzip"),
        ({"path": "*.csv"}, "gzip"),
        ({"path": ["/x", "/reports/?.csv".replace("?", "[ab]")]}, "gzip"),
        ({"path": "/Reports/*"}, None),
        ({"host": "EXAMPLE.com"}, "gzip"),
        ({"host": "*.com", "path": "/reports/*"}, "gzip"),
        ({"host": "*.org", "path": "/reports/*"}, None),
        ({"host": "*.com", "port": 81}, None),
    ],
)
def test_the_request_decides_and_goes_along_whole(
    made: Callable[[str], Filter], keys: dict[str, Any], to: str | None
) -> None:
    playback = Playback(made(rule(**keys)))
    if not playback.commands:
        assert playback.inbound(GET[:20]) == b""
        assert playback.commands == []
        out = playback.inbound(GET[20:] + b"body")
        assert (out if to is None else playback.carried["inbound"]) == GET + b"body"
    assert yielded(playback) == (to and (to,))


@given(cuts=st.lists(st.integers(1, len(GET) - 1)))
def test_it_does_not_matter_how_a_request_is_cut(tmp_path_factory: Any, cuts: list[int]) -> None:
    file = tmp_path_factory.getbasetemp() / "cut.toml"
    file.write_text(rule(path="/reports/*"))
    playback = Playback(load(parse(f"filter,rules={file}")))
    edges = [0, *sorted(set(cuts)), len(GET)]
    for start, end in itertools.pairwise(edges):
        assert playback.inbound(GET[start:end]) == b""
    assert (yielded(playback), playback.carried["inbound"]) == (("gzip",), GET)


def test_the_first_rule_that_is_true_decides_and_one_that_may_be_is_waited_for(
    made: Callable[[str], Filter],
) -> None:
    module = made(rule("a", path="/reports/*") + rule("b c", client="192.0.2.0/24") + rule("d"))
    for first, to in ((GET, ("a",)), (OTHER, ("b", "c"))):
        playback = Playback(module)
        assert playback.commands == []
        playback.inbound(first)
        assert yielded(playback) == to
    assert yielded(Playback(made(rule("b", port=80) + rule("a", path="/*")))) == ("b",)
    assert dict(module.counters()) == {"rule_1": 1, "rule_2": 1}


def test_no_modules_is_native(made: Callable[[str], Filter]) -> None:
    playback = Playback(made(rule("", path="/reports/*") + rule("a")))
    assert playback.inbound(GET) == GET
    assert yielded(playback) is None


@pytest.mark.parametrize("body, to", [(HTML, "gzip"), (PNG, None)])
def test_the_type_is_the_responses_and_new_modules_know_the_request(
    made: Callable[[str], Filter], body: bytes, to: str | None
) -> None:
    playback = Playback(made(rule(type="text/*")))
    assert playback.inbound(GET) == GET
    assert playback.inbound(b"more") == b"more"
    assert playback.outbound(body[:30]) == b""
    out = playback.outbound(body[30:])
    assert yielded(playback) == (to and (to,))
    if to is None:
        assert out == body
    else:
        assert playback.carried == {"outbound": body, "inbound": b"", "passed": GET + b"more"}


def test_an_interim_response_is_not_held_back(made: Callable[[str], Filter]) -> None:
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    playback = Playback(made(rule(type="text/*")))
    playback.inbound(GET)
    assert playback.outbound(go_on + HTML[:10]) == go_on
    assert playback.outbound(go_on[:0] + HTML[10:]) == b""
    assert (yielded(playback), playback.carried["outbound"]) == (("gzip",), HTML)
    playback = Playback(made(rule(type="text/*")))
    playback.inbound(GET)
    playback.outbound(go_on + HTML)
    assert (yielded(playback), playback.carried["outbound"]) == (("gzip",), go_on + HTML)


def test_a_long_upload_is_not_kept_and_has_no_type(made: Callable[[str], Filter]) -> None:
    playback = Playback(made(rule(type="text/*")))
    playback.inbound(GET)
    for _ in range(40):
        assert playback.inbound(bytes(10_000)) == bytes(10_000)
    assert len(playback.flow.choice.passed) < 300_000
    assert playback.outbound(HTML) == HTML
    assert yielded(playback) is None


@pytest.mark.parametrize(
    "first", [b"\x16\x03\x01\x02", b"PRI * HTTP/2.0\r\n\r\nSM", b"GET / HTTP/1.1\nHost: a\n\n", b"hello\r\n"]
)
def test_what_is_no_http_has_no_path_and_no_type(made: Callable[[str], Filter], first: bytes) -> None:
    for keys in ({"path": "*"}, {"type": "*"}):
        module = made(rule(**keys) + rule("rest", port=80))
        playback = Playback(module)
        playback.inbound(first)
        assert (yielded(playback), playback.carried["inbound"]) == (("rest",), first)
        assert dict(module.counters()) == {"not_http": 1, "rule_2": 1}


def test_an_application_that_speaks_first_is_not_waited_with(made: Callable[[str], Filter]) -> None:
    playback = Playback(made(rule(path="/*") + rule("rest", port=80)))
    assert playback.outbound(b"220 ready\r\n") == b""
    assert (yielded(playback), playback.carried["outbound"]) == (("rest",), b"220 ready\r\n")


def test_an_answer_to_half_a_request_passes_and_what_was_held_is_not_lost(
    made: Callable[[str], Filter],
) -> None:
    playback = Playback(made(rule(type="text/*")))
    assert playback.inbound(GET[:20]) == b""
    assert (
        playback.outbound(b"HTTP/1.1 408 Request Timeout\r\n\r\n") == b"HTTP/1.1 408 Request Timeout\r\n\r\n"
    )
    assert playback.outbound_end() == b""
    assert playback.inbound(GET[20:]) == GET
    assert yielded(playback) is None


def test_ends_give_out_what_was_held(made: Callable[[str], Filter]) -> None:
    playback = Playback(made(rule(path="/*")))
    playback.inbound(GET[:20])
    assert playback.inbound_end() == GET[:20]
    assert yielded(playback) is None
    playback = Playback(made(rule(type="*")))
    playback.inbound(GET)
    playback.outbound(HTML[:20])
    assert playback.outbound_end() == HTML[:20]
    assert yielded(playback) is None


def test_a_module_that_has_gone_leaves_the_flow_native(made: Callable[[str], Filter]) -> None:
    module = made(rule(path="/*"))
    playback = Playback(module, living=[])
    assert playback.inbound(GET) == GET
    assert yielded(playback) is None
    assert module.counters()["absent"] == 1


# --- heads ---


@pytest.mark.parametrize(
    "data, found",
    [
        (GET, Request("GET", "example.com", "/reports/a.csv")),
        (b"OPTIONS * HTTP/1.0\r\n\r\n", Request("OPTIONS", "", "*")),
        (b"GET http://A.b:1/c?d HTTP/1.1\r\nhost: x\r\n\r\n", Request("GET", "a.b", "/c")),
        (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Request("GET", "[::1]", "/")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", UNKNOWN),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", UNKNOWN),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", UNKNOWN),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", UNKNOWN),
        (b"GET  / HTTP/1.1\r\n\r\n", UNKNOWN),
        (b"GET / HTTP/2.0\r\n\r\n", UNKNOWN),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * MOST + b"\r\n\r\n", UNKNOWN),
        (b"GET /" + b"x" * 100, None),
        (b"", None),
        (b"\0", UNKNOWN),
    ],
)
def test_request_heads(data: bytes, found: Any) -> None:
    assert request(data) == found


@pytest.mark.parametrize(
    "data, found",
    [
        (HTML, Response(200, "text/html", len(HTML) - 3)),
        (b"HTTP/1.0 304 Not Modified\r\n\r\n", Response(304, "", 29)),
        (b"HTTP/1.1 200\r\n\r\n", Response(200, "", 16)),
        (b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-type: c/d\r\n\r\n", UNKNOWN),
        (b"HTTP/1.1 20 OK\r\n\r\n", UNKNOWN),
        (b"ICY 200 OK\r\n", UNKNOWN),
        (b"HTTP/1.1 200 OK\r\n", None),
    ],
)
def test_response_heads(data: bytes, found: Any) -> None:
    assert response(data) == found


@given(data=st.binary(max_size=200), more=st.binary(max_size=50))
def test_a_head_that_was_understood_stays_so(data: bytes, more: bytes) -> None:
    for parse_head in (request, response):
        found = parse_head(data)
        if found is not None:
            assert parse_head(data + more) == found


@given(cut=st.integers(0, len(GET) - 1))
def test_a_request_is_waited_for_until_it_is_whole(cut: int) -> None:
    assert request(GET[:cut]) is None
    assert response(HTML[:cut]) in (None, Response(200, "text/html", len(HTML) - 3))


# --- mistakes ---


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("[[rule]]\nmodules = [\n", 2, "Invalid"),
        ("[[rule]]\npaht = '/x'\nmodules = []\n", 2, "did you mean 'path'?"),
        ("# first\n\n[[rule]]\npath = '/x'\n", 3, "which modules"),
        ("[[rule]]\nmodules = []\n[[rule]]\nmodules = ['a b']\n", 4, "not a module's name"),
        ("[[rule]]\nmodules = 'gzip'\nclient = '10.0.0.1/8'\n", 3, "host bits"),
        ("[[rule]]\nmodules = 'gzip'\nclient = ['::/0', 'x']\n", 3, "a network is"),
        ("[[rule]]\nmodules = 'gzip'\nport = 0\n", 3, "from 1 to 65535"),
        ("[[rule]]\nmodules = 'gzip'\nport = [80, '81']\n", 3, "from 1 to 65535"),
        ("[[rule]]\nmodules = 'gzip'\nshare = 1.5\n", 3, "at most 1"),
        ("[[rule]]\nmodules = 'gzip'\nshare = true\n", 3, "at most 1"),
        ("[[rule]]\nmodules = 'gzip'\nhost = 'a:80'\n", 3, "without a port"),
        ("[[rule]]\nmodules = 'gzip'\npath = 'x'\n", 3, "begins with /"),
        ("[[rule]]\nmodules = 'gzip'\npath = '/x?y'\n", 3, "query"),
        ("[[rule]]\nmodules = 'gzip'\ntype = 'text'\n", 3, "media type"),
        ("[[rule]]\nmodules = 'gzip'\nhost = []\n", 3, "list of texts"),
        ("[[rule]]\nmodules = []\n[other]\nx = 1\n", 3, "[[rule]] only"),
        ("name = 1\n", 1, "[[rule]] only"),
        ("rule = 3\n", 1, "begins with [[rule]]"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    made: Callable[[str], Filter], text: str, line: int, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        made(text)
    message = str(caught.value)
    assert f".toml:{line}: " in message
    assert said in message


def test_rules_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(SystemRefused, match="cannot read the rules"):
        load(parse(f"filter,rules={tmp_path}/absent.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        load(parse(f"filter,rules={tmp_path}/binary.toml"))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registry without modules; pytest's own directory has too long a name for one."""
    with tempfile.TemporaryDirectory(prefix="mn-") as name:
        monkeypatch.setenv("MODNET_RUNTIME_DIR", name)
        yield


def test_it_does_not_start_with_modules_that_do_not_run(made: Callable[[str], Filter], nobody: None) -> None:
    module = made("# first\n" + rule())
    with pytest.raises(UsageError, match=r":2: no module named gzip is running; start it with"):
        module.start()


def test_rules_are_read_anew_and_wrong_ones_change_nothing(
    made: Callable[[str], Filter], nobody: None
) -> None:
    module = made(rule("", path="/*"))
    waiting = Playback(module)
    module.settings.rules.write_text(rule("", port=80) + "\n[[rule]]\nmodules = 3\n")
    assert module._reload()[0] != 0
    assert Playback(module).commands == []
    module.settings.rules.write_text(rule("gzip"))
    with pytest.raises(ModnetError, match="gzip is running"):
        module.reload()
    module.settings.rules.write_text(rule("", port=80))
    assert module._reload() == (0, "")
    assert yielded(Playback(module)) is None
    # A flow that waits has the rules that it began with.
    waiting.inbound(GET)
    assert yielded(waiting) is None
    assert dict(module.counters()) == {"rule_1": 2}
