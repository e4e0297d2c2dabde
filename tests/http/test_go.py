"""Go's net/http as client of module gzip, in front of real servers: kept connections, several at a time,
bodies that its transport decodes by itself, trailers, hints, 100-continue.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.prepared import TEXT
from tests.http.scripted import ITEMS, PREPARED
from tests.lib.users import Broken, ordinary
from tests.servers.base import Running, running
from tests.servers.catalogue import HTTP

SOURCE = Path(__file__).with_name("client.go")
WORKERS = 4
PAGE = b"".join(b"<li>%d of %d</li>\n" % (n * n % 1009, n % 13) for n in range(20_000))
PHOTO = hashlib.shake_128(b"photo").digest(300_000)
SENT = b"a line that is sent\n" * 10_000


@pytest.fixture(scope="module")
def client() -> Iterator[Path]:
    """The client, built; the standard library's objects are in Go's cache from the second time on."""
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if go is None:
        raise Broken("no Go: apt-get install golang-go")
    with tempfile.TemporaryDirectory(prefix="mn-go-") as name:
        program = Path(name) / "client"
        # Nothing is fetched, whatever go.mod lies above.
        environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
        built = subprocess.run(
            [go, "build", "-o", program, SOURCE], cwd=name, env=environment, capture_output=True, text=True
        )
        if built.returncode:
            raise Broken(f"go build: {built.stderr}")
        yield program


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("www")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    for name, data in (("page.html", PAGE), ("photo.jpg", PHOTO), ("small.txt", b"hello\n")):
        (folder / name).write_bytes(data)
    return folder


def told(client: Path, up: Running, *asked: str) -> list[dict[str, Any]]:
    """What the client tells, each worker's answers to the same questions."""
    url = f"http://127.0.0.1:{up.place.port}"
    done = subprocess.run([client, url, *asked], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == WORKERS * len(asked)
    return answers


hashed = functools.partial(hashlib.new, "sha256")


def check(answers: list[dict[str, Any]], asked: str, body: bytes, is_decoded: bool) -> None:
    """Every worker got this, compressed on its way or not."""
    found = [one for one in answers if one["Asked"] == asked]
    assert {(one["Hash"], one["Decoded"]) for one in found} == {(hashed(body).hexdigest(), is_decoded)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["nginx", "apache-php", "http.server", "node"])
def test_go_gets_every_body_on_kept_connections(server: str, client: Path, www: Path) -> None:
    with running(HTTP[server], ordinary(), "gzip", www) as up:
        traits = up.server.traits
        paths = ["GET:/page.html", "HEAD:/page.html", "GET:/photo.jpg", "GET:/small.txt", "GET:/page.html"]
        post = f"POST:{traits.scripts}/hash{traits.suffix}" if traits.upload == "post" else None
        answers = told(client, up, *paths, *([post] if post else []))
        check(answers, "GET:/page.html", PAGE, True)
        check(answers, "HEAD:/page.html", b"", False)
        check(answers, "GET:/photo.jpg", PHOTO, False)
        check(answers, "GET:/small.txt", b"hello\n", False)
        if post:
            check(answers, post, hashed(SENT).hexdigest().encode(), False)
        # Each worker's first is new, or taken over from another that is done with it; no later one is new.
        assert sum(not one["Reused"] for one in answers) <= WORKERS


@pytest.mark.timeout(300)
def test_go_sees_trailers_and_hints(client: Path, www: Path) -> None:
    with running(PREPARED, ordinary(), "gzip", www) as up:
        answers = told(client, up, "GET:/extensions", "GET:/folded")
        check(answers, "GET:/extensions", TEXT, True)
        check(answers, "GET:/folded", TEXT, True)
        assert [one["Trailer"] for one in answers if "ext" in one["Asked"]] == [{"X-Sum": ["1"]}] * WORKERS
        long = [one["Header"]["X-Long"] for one in answers if "fold" in one["Asked"]]
        assert long == [["one two three"]] * WORKERS
    with running(ITEMS, ordinary(), "gzip", www) as up:
        answers = told(client, up, "GET:/hints", "GET:/empty", "GET:/fields")
        check(answers, "GET:/hints", TEXT, True)
        check(answers, "GET:/empty", b"", False)
        assert {one["Hints"] for one in answers if one["Asked"] == "GET:/hints"} == {2}
        cookies = [one["Header"]["Set-Cookie"] for one in answers if one["Asked"] == "GET:/fields"]
        assert cookies == [["a=1", "b=2; Path=/"]] * WORKERS
