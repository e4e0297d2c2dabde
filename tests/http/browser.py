"""A headless Chromium, driven by its own protocol over two pipes: a page is loaded, and what came is told.

    with Browser(folder) as browser:
        loaded = browser.load("http://127.0.0.1:8000/")

Rules: a page says when it is done, by `console.log("done")`; nobody waits for time to pass. Every load has a
context of its own, so that nothing is cached. The browser looks no name up and goes nowhere but to 127.0.0.1.
It must not know what it loads. (Playwright would do as much, with a browser from outside of Debian.)
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lib.users import Broken

NAMES = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "google-chrome")
DONE = "done"
# Generous: a machine of two cores that does other things starts a browser in some seconds.
LIMIT_S = 60.0
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    # The pages are ours, and root (as in CI) cannot have the sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass
class Resource:
    """One response."""

    status: int
    headers: dict[str, str]
    digest: str = ""
    """Of its body, decoded; nothing where a script read it piece by piece: the browser does not keep that."""
    wire: int = 0
    """Bytes that came, the head among them."""


@dataclass
class Loaded:
    """A page that is done."""

    dom: str = ""
    console: list[str] = field(default_factory=list)
    """What it said, its errors, what the browser said about it, and requests that failed."""
    resources: dict[str, Resource] = field(default_factory=dict)
    """By path."""


class Browser:
    """A browser for the time of a `with` block."""

    def __init__(self, folder: Path) -> None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            raise Broken("no headless browser: apt-get install chromium-headless-shell")
        ours, theirs = os.pipe(), os.pipe()
        # The protocol's descriptors are 3 and 4. (Debian's sh knows no number above 9.)
        script = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        argv = ["bash", "-c", script, found, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                argv,
                pass_fds=(ours[0], theirs[1]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # No bus, no display, no profile but ours.
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TZ": "UTC"},
            )
        os.close(ours[0])
        os.close(theirs[1])
        self._folder, self._to, self._from = folder, ours[1], theirs[0]
        self._number, self._rest, self._events = 0, b"", list[dict[str, Any]]()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Broken, OSError):
            self._call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def load(self, url: str) -> Loaded:
        """Loads a page until it says that it is done."""
        with self._page() as session:
            loaded = Loaded()
            ids: dict[str, str] = {}
            over: set[str] = set()

            def is_over() -> bool:
                for event in self._taken(session):
                    self._note(event, loaded, ids, over)
                return any(line == f"log: {DONE}" for line in loaded.console) and over >= set(ids)

            self._call("Page.navigate", session, url=url)
            self._until(is_over, lambda: f"{url} to be done: {loaded.console}, {set(ids.values())}")
            for request in over & set(ids):
                loaded.resources[ids[request]].digest = self._digest(session, request)
            dom = self._call("Runtime.evaluate", session, expression="document.documentElement.outerHTML")
            loaded.dom = dom["result"]["value"]
            return loaded

    def _digest(self, session: str, request: str) -> str:
        try:
            answer = self._call("Network.getResponseBody", session, requestId=request)
        except Broken as error:
            if "No data found" in str(error):
                return ""
            raise
        text = answer["body"]
        body = base64.b64decode(text) if answer["base64Encoded"] else text.encode()
        return hashlib.sha256(body).hexdigest()

    @contextlib.contextmanager
    def _page(self) -> Iterator[str]:
        context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable", session)
        self._call("Network.enable", session, maxTotalBufferSize=1 << 28, maxResourceBufferSize=1 << 26)
        yield session
        self._call("Target.disposeBrowserContext", browserContextId=context)

    @staticmethod
    def _note(event: dict[str, Any], loaded: Loaded, ids: dict[str, str], over: set[str]) -> None:
        what = event["params"]
        match event["method"]:
            case "Network.responseReceived":
                answer = what["response"]
                path = "/" + answer["url"].split("/", 3)[3]
                ids[what["requestId"]] = path
                headers = {name.lower(): value for name, value in answer["headers"].items()}
                loaded.resources[path] = Resource(answer["status"], headers)
            case "Network.loadingFinished":
                over.add(what["requestId"])
                if path := ids.get(what["requestId"]):
                    loaded.resources[path].wire = what["encodedDataLength"]
            case "Network.loadingFailed":
                over.add(what["requestId"])
                loaded.console.append(f"failed: {ids.get(what['requestId'])}: {what['errorText']}")
            case "Runtime.consoleAPICalled":
                said = " ".join(str(one.get("value", one.get("description"))) for one in what["args"])
                loaded.console.append(f"{what['type']}: {said}")
            case "Runtime.exceptionThrown":
                loaded.console.append(f"exception: {what['exceptionDetails']['text']}")
            case "Log.entryAdded":
                # The port differs from run to run.
                text, url = what["entry"]["text"], what["entry"].get("url", "")
                loaded.console.append(
                    f"{what['entry']['level']}: {text} /{url.partition('//')[2].partition('/')[2]}"
                )

    # --- the protocol: JSON, each message ended by a NUL ----------------------------------------------

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        number, answers = self._number, list[dict[str, Any]]()

        def answered() -> bool:
            answers.extend(one for one in self._events if one.get("id") == number)
            return bool(answers)

        self._until(answered, lambda: f"an answer to {method}")
        self._events = [one for one in self._events if "id" not in one]
        if "error" in answers[0]:
            raise Broken(f"{method}: {answers[0]['error']['message']}")
        result: dict[str, Any] = answers[0]["result"]
        return result

    def _taken(self, session: str) -> list[dict[str, Any]]:
        taken = [one for one in self._events if one.get("sessionId") == session]
        self._events = [one for one in self._events if one.get("sessionId") != session]
        return taken

    def _until(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        end = time.monotonic() + LIMIT_S
        while not condition():
            if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
                raise Broken(f"after {LIMIT_S:g} s the browser still waits for {what()}{self._logged()}")
            piece = os.read(self._from, 1 << 20)
            if not piece:
                raise Broken(f"the browser has ended before {what()}{self._logged()}")
            *whole, self._rest = (self._rest + piece).split(b"\0")
            self._events.extend(json.loads(one) for one in whole)

    def _logged(self) -> str:
        return "\n" + (self._folder / "log").read_text(errors="replace")[-2000:]
