"""Connections through the filter to the module `gzip`: compressed or not, each body is the file's once it is
decoded.

The short form; tests/soak runs the same with 10,000 connections.
"""

import gzip
import hashlib
import http.client
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrity import test_yield
from tests.lib.folder import served
from tests.lib.users import interpreter
from tests.servers.base import Server

SIZES = (0, 1, 300, 5000, 70_000, 1_000_000)
CLIENTS = 8
PAGES = Server(
    "pages",
    (),
    lambda place, www: [
        interpreter(place.user),
        *("-m", "http.server", "--protocol", "HTTP/1.1"),
        *("--bind", "127.0.0.1", "--directory", str(www), str(place.port)),
    ],
)


@pytest.fixture(scope="module")
def pages() -> Iterator[tuple[Path, dict[str, str]]]:
    """Text of all sizes, and what does not shrink; hashes by path."""
    dice, files = random.Random(5), {}
    for size in SIZES:
        words = (b"%x " % dice.getrandbits(12) for _ in range(size))
        files |= {f"{size}.txt": b"".join(words)[:size], f"{size}.png": dice.randbytes(size)}
    with served(files) as directory:
        yield directory, {f"/{name}": hashlib.sha256(data).hexdigest() for name, data in files.items()}


def one(port: int, hashes: dict[str, str], dice: random.Random) -> Counter[str]:
    """One connection with some requests; what came of them."""
    seen: Counter[str] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(dice.randint(1, 4)):
        path, method = dice.choice(list(hashes)), dice.choice(("GET", "GET", "GET", "HEAD"))
        takes = dice.random() < 0.8
        connection.request(method, path, headers={"Accept-Encoding": "gzip"} if takes else {})
        answer = connection.getresponse()
        body, coding = answer.read(), answer.headers.get("Content-Encoding")
        if coding:
            assert takes and coding == "gzip", path
            body = gzip.decompress(body) if body else body
        if method == "HEAD":
            assert body == b"", path
        else:
            assert hashlib.sha256(body).hexdigest() == hashes[path], (path, coding)
        seen[f"{method} {coding}"] += 1
    connection.close()
    return seen


def drive(pages: tuple[Path, dict[str, str]], rules: str, connections: int) -> None:
    directory, hashes = pages
    seen: Counter[str] = Counter()
    wrong: list[BaseException] = []
    with test_yield.filtered(PAGES, ("gzip",), directory, rules) as up:

        def client(number: int) -> None:
            try:
                for turn in range(number, connections, CLIENTS):
                    seen.update(one(up.place.port, hashes, random.Random(turn)))
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, (wrong[:3], up.place.logged())
        counted = test_yield.counters(up.place, "filter")
        print(f"{rules}: {connections} connections, {dict(seen)}")
        assert (counted["yielded"], counted["yields_lost"]) == (connections, 0)
        assert test_yield.counters(up.place, "gzip")["stolen"] == connections
    assert seen["GET gzip"] > connections / 4, seen
    assert seen["HEAD gzip"] > 0, seen
    assert seen["GET None"] > 0, seen


@pytest.mark.timeout(180)
@pytest.mark.parametrize("rules", ["path", "type"])
def test_every_body_is_the_files_once_it_is_decoded(rules: str, pages) -> None:
    drive(pages, rules, connections=200)
