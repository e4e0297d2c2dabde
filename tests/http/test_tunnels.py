"""Connections that become another protocol's: CONNECT, h2c by upgrade and by prior knowledge, through module
gzip in front of Apache. Their bytes pass untouched, and what they became is counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.curl import asked
from tests.http.wire import counted
from tests.lib.place import Place
from tests.lib.users import ordinary
from tests.lib.variants import NATIVE
from tests.servers.base import Running, Server, running
from tests.servers.catalogue import HTTP
from tests.servers.static import EVENT, apache_command

MODULES = "/usr/lib/apache2/modules"
TUNNELS = f"""{EVENT}
LoadModule http2_module {MODULES}/mod_http2.so
LoadModule proxy_module {MODULES}/mod_proxy.so
LoadModule proxy_connect_module {MODULES}/mod_proxy_connect.so
LoadModule mime_module {MODULES}/mod_mime.so
TypesConfig /dev/null
AddType text/html .html
Protocols h2c http/1.1
ProxyRequests On
AllowCONNECT 1024-65535
"""
# Small enough for what curl 7.88 can hold when it is told to switch.
PAGE = b"<li>a line of a page</li>\n" * 1000


def command(place: Place, www: Path) -> list[str]:
    return apache_command(place, www, "event", TUNNELS)


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that everybody can read."""
    folder = tmp_path_factory.mktemp("www")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    (folder / "page.html").write_bytes(PAGE)
    return folder


@pytest.fixture
def apache(www: Path) -> Iterator[Running]:
    with running(Server("apache-tunnels", ("apache2",), command), ordinary(), "gzip", www) as up:
        yield up


def test_a_tunnel_passes_untouched(apache: Running, www: Path) -> None:
    with running(HTTP["node"], ordinary(), NATIVE, www) as behind:
        proxy = ("-p", "-x", f"http://127.0.0.1:{apache.place.port}", "--compressed")
        before, lines, body, came = asked(
            apache, f"http://127.0.0.1:{behind.place.port}/page.html", *proxy, "--proxy-header", "X-A: b"
        )
    assert len(before) == 1 and before[0].startswith("HTTP/1.0 200")
    # What was tunnelled looks like HTTP and like a page, and still nobody touched it.
    assert body == PAGE and came == len(PAGE)
    assert not any(line.lower().startswith(("content-encoding", "vary")) for line in lines)
    assert counted(apache, "http_opaque_tunnel") == 1


@pytest.mark.parametrize(
    ("option", "reason"), [("--http2", "upgraded"), ("--http2-prior-knowledge", "http2")]
)
def test_http_2_passes_untouched(apache: Running, option: str, reason: str) -> None:
    before, lines, body, came = asked(apache, "/page.html", "--compressed", option)
    assert [line.split()[1] for line in before] == (["101"] if reason == "upgraded" else [])
    assert lines[0].startswith("HTTP/2 200")
    assert hashlib.sha256(body).digest() == hashlib.sha256(PAGE).digest() and came == len(PAGE)
    assert counted(apache, f"http_opaque_{reason}") == 1


def test_an_upgrade_that_the_server_declines_changes_nothing(www: Path) -> None:
    with running(HTTP["nginx"], ordinary(), "gzip", www) as up:
        _, lines, body, came = asked(up, "/page.html", "--compressed", "--http2")
        assert lines[0].startswith("HTTP/1.1 200") and "Content-Encoding: gzip" in lines
        assert body == PAGE and came < len(PAGE) / 3
