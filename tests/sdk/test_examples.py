"""`examples/`: each module does what it says, as a user would load it; the package installs and is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modnet.loader import load, parse
from modnet.module import Module
from modnet.testing import Playback, check_chunking, play

from tests.estimate.link import Link, burst

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def example(text: str) -> Module:
    return load(parse(text, EXAMPLES))


def test_shout_answers_in_capitals_in_at_most_twenty_lines() -> None:
    play(
        example("shout.py:Shout"),
        [("inbound", b"hello", b"hello"), ("outbound", b"hello", b"HELLO"), ("outbound_end",), ("closed",)],
    )
    assert len((EXAMPLES / "shout.py").read_text().splitlines()) <= 20


PROGRAMS = {"late_news.py"}
"""No modules: tests/revoke runs them."""


@pytest.mark.parametrize(
    "path",
    sorted(path for path in EXAMPLES.glob("*.py") if path.name not in PROGRAMS),
    ids=lambda path: path.name,
)
def test_every_example_holds_one_module(path: Path) -> None:
    needs = {"redact.py": ",word=x"}.get(path.name, "")
    assert isinstance(load(parse(str(path) + needs)), Module)


@pytest.mark.parametrize("name", ["server.py", "compressed.py"])
def test_an_application_yields_its_socket_in_three_lines(name: str) -> None:
    lines = (EXAMPLES / "own_socket" / name).read_text().splitlines()
    assert 0 < sum("calls" in line for line in lines) <= 3


def test_redact_replaces_words_and_keeps_the_length() -> None:
    made = example("redact.py,word=secret,word=sec")
    assert check_chunking(lambda: type(made)(made.settings), b"a secret, a sec, a secre") == (
        b"a ******, a ***, a ***re"
    )


@given(st.text("ab"), st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4))
def test_redact_finds_what_a_search_in_the_whole_text_finds(text: str, words: list[str]) -> None:
    made = type(example("redact.py,word=x"))
    settings = made.Settings(word=tuple(words))
    longest_first = "|".join(sorted(words, key=len, reverse=True))
    wanted = re.sub(longest_first, lambda match: "*" * len(match[0]), text)
    assert check_chunking(lambda: made(settings), text.encode(), tries=10) == wanted.encode()


def test_count_counts_and_stays_native(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    module = example("count.py")
    assert type(module).hooks() == {"closed"}
    for _ in range(3):
        playback = Playback(module)
        playback.inbound(b"ask")
        playback.outbound(b"answer")
        playback.closed()
    assert module.counters() == {"connections": 3, "bytes_outbound": 18, "bytes_inbound": 9}
    assert caplog.records[0].getMessage().startswith("192.0.2.1: 6 bytes out, 3 in, ")


def test_bandwidth_log_prints_each_client_s_bandwidth_in_at_most_twenty_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("bandwidth_log.py")
    asked = []
    monkeypatch.setattr(module, "every", lambda seconds, call: asked.append(seconds))
    module.start()
    assert asked == [0.005]
    snapshots = Link(rate=125_000.0).carry(burst(100_000))
    tcp = SimpleNamespace(snapshot=lambda: snapshots.pop(0))
    playback = Playback(module, tcp=tcp)
    playback.outbound(b"answer")
    while snapshots:
        module.look()
    playback.closed()
    assert capsys.readouterr().out.startswith("('192.0.2.1', 40000) Measure(rate=125000.0, confidence=0.7")
    assert len((EXAMPLES / "bandwidth_log.py").read_text().splitlines()) <= 20


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built and installed into a directory of its own. Copied first: a build writes beside its
    source.
    """
    work = tmp_path_factory.mktemp("package")
    source = shutil.copytree(EXAMPLES / "package", work / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", work / "site", source], check=True
    )
    return work / "site"


def run(script: str, site: Path) -> str:
    path = f"{site}:{ROOT / 'python'}"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_package_brings_a_module_with_a_name(installed: Path) -> None:
    script = """
from modnet.loader import available, load, parse
from modnet.testing import Playback
print([found.distribution for found in available() if found.name == "header"])
print(Playback(load(parse("header,value=x"))).outbound(b"HTTP/1.1 200 OK\\r\\n\\r\\n"))
"""
    assert run(script, installed).splitlines() == [
        "['modnet-header']",
        r"b'HTTP/1.1 200 OK\r\nX-Served-Through: x\r\n\r\n'",
    ]


def test_the_packages_own_tests_pass(installed: Path) -> None:
    script = f"""
import pytest, sys
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", {str(EXAMPLES / "package")!r},
    "-c", {str(EXAMPLES / "package/pyproject.toml")!r}, {str(EXAMPLES / "package/tests")!r}]))
"""
    assert re.search(r"\d+ passed", run(script, installed))
