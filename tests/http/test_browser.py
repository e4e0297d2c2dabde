"""A browser in front of real servers: a page of 40 parts is the same through module gzip, and fewer bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http import page
from tests.http.browser import Browser, Loaded
from tests.http.scripted import LIVE
from tests.lib.folder import served
from tests.lib.users import ordinary
from tests.lib.variants import NATIVE
from tests.servers.base import Server, running
from tests.servers.catalogue import HTTP

# Its own favicon is the page's (data:), so that no 404 is on the console.
SAID = ["log: done"]
CLOSED = "failed: /events: net::ERR_ABORTED"


@pytest.fixture(scope="module")
def forty() -> Iterator[Path]:
    """The page's folder."""
    with served(page.files()) as folder:
        yield folder


def loaded(server: Server, variant: str, www: Path, path: str = "/index.html") -> Loaded:
    """The page; the browser ends before the server, which looks for what is left of anybody."""
    with running(server, ordinary(), variant, www) as up:
        folder = up.place.directory / "browser"
        folder.mkdir()
        with Browser(folder) as browser:
            return browser.load(f"http://127.0.0.1:{up.place.port}{path}")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("server", ["nginx", "apache-php", "http.server", "node"])
def test_a_page_of_40_parts_is_what_it_is_natively(server: str, forty: Path) -> None:
    natively, through = (loaded(HTTP[server], variant, forty) for variant in (NATIVE, "gzip"))
    files = {f"/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in forty.iterdir()}
    assert len(files) == page.PARTS + 1
    for one in (natively, through):
        assert one.console == SAID
        assert {path: part.digest for path, part in one.resources.items()} == files
        assert {part.status for part in one.resources.values()} == {200}
    assert through.dom == natively.dom
    # The DOM holds what each part has left in it.
    assert through.dom.count("<li>") == page.PARTS - page.MODULES + 1 and " 0x0<" not in through.dom
    coded = {
        path for path, part in through.resources.items() if part.headers.get("content-encoding") == "gzip"
    }
    assert len(coded) == page.SHRINKING and not any(path.endswith(".png") for path in coded)
    assert not any("content-encoding" in part.headers for part in natively.resources.values())
    sums = [sum(part.wire for part in one.resources.values()) for one in (natively, through)]
    print(f"{server}: {sums[0]} bytes natively, {sums[1]} through gzip")
    assert sums[1] < sums[0] / 2


@pytest.mark.timeout(120)
def test_events_streams_and_a_websocket_work_as_natively(tmp_path: Path) -> None:
    natively, through = (loaded(LIVE, variant, tmp_path, "/") for variant in (NATIVE, "gzip"))
    for one in (natively, through):
        # The page closes its events itself, which the browser may say after all else.
        assert [line for line in one.console if line != CLOSED] == SAID
    assert through.dom == natively.dom
    seen = ("event one", "event two", f"streamed {12 * 300}", "socket HELLO", "closed 1000")
    assert "".join(f"<li>{text}</li>" for text in seen) in through.dom
    for path in ("/", "/events", "/page"):
        assert through.resources[path].headers["content-encoding"] == "gzip"
    assert through.resources["/"].digest == natively.resources["/"].digest != ""
