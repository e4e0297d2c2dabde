"""Starts the process of a module, `modnet.host`, and hears whether it came up.

Rules: the wait is bounded, and who gives up (also by Ctrl-C) ends what he has started. The process is
nobody's child: its parent has ended when this returns. Must not: know what a living module of the same name
means.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from modnet import environment
from modnet.errors import PeerError
from modnet.loader import Spec

__all__ = ["spawn"]


def spawn(runtime: str, name: str, spec: Spec, *, persistent: bool, seconds: float) -> dict[str, Any]:
    """What the process answers: `ready` and its number, or `error`, `errno` and `status`."""
    message = {"spec": spec.to_json(), "runtime": runtime, "persistent": persistent, "apart": True}
    process = subprocess.Popen(
        # -P: what lies in the current directory (a json.py, say) must not stand in for the library's.
        [sys.executable, "-P", "-m", "modnet.host", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment.for_module(environment.original(), runtime),
        start_new_session=True,
    )
    try:
        heard = _hear(process, json.dumps(message).encode(), seconds)
    except BaseException:
        # Its process group, which outlives the process that we know.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()
    if heard is None:
        raise PeerError(
            f"module {name!r} was not ready after {seconds:g} s; what takes so long in its start()?"
        )
    lines = heard.splitlines()
    try:
        # The answer is the last line; what comes before is the interpreter's, which has something to
        # complain about.
        answer: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = lines[-1].decode(errors="replace").strip() if lines else "it said nothing"
        raise PeerError(f"the process of module {name!r} did not start: {last}") from None
    return answer


def _hear(process: subprocess.Popen[bytes], message: bytes, seconds: float) -> bytes | None:
    """Says `message` and returns all that comes back; None after `seconds`, when the process has been
    killed.
    """
    assert process.stdin is not None and process.stdout is not None
    end = time.monotonic() + seconds
    # Ended already: what it says tells why.
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(message)
    heard = b""
    with process.stdout as pipe:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while poll.poll(max(0.0, end - time.monotonic()) * 1000):
            chunk = os.read(pipe.fileno(), 65536)
            if not chunk:
                return heard
            heard += chunk
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return None
