"""The process of a module: `python -m modnet.host NAME`, started by `modnet.launch`, not by hand.

    stdin   one JSON object: {"spec", "runtime", "persistent", "apart": leave the parent}
    stdout  one JSON object: {"ready": pid} or {"error", "errno", "status"}; then it is closed

Afterwards input is /dev/null and output goes to the module's log. It ends on SIGTERM or SIGINT, on `modnet
module stop`, or with its last user; flows get `drain` seconds. SIGHUP: see `Module.reload`.

Rules: everything that can be wrong is told through stdout before it is closed, in one line; from then on in
the log. Must not: write to the terminal of whoever started it, nor keep any of its descriptors.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import resource
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any

from modnet.errors import ModnetError, UsageError
from modnet.module import can_reload

__all__ = ["main"]


def main() -> None:
    """Takes the request from stdin, runs the module until it is told to end."""
    request = json.loads(sys.stdin.buffer.read())
    # The launcher becomes the command, which must not find a child that it did not make.
    if request.get("apart") and os.fork():
        os._exit(0)
    # A dup, so that stdout can go elsewhere while the answer is still owed.
    answer = os.dup(1)
    # The launcher's terminal may hang up; this process has a session of its own and stays.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _redirect(os.devnull, os.O_RDWR, 0, 1, 2)
    try:
        running = _Running(request)
    except ModnetError as error:
        _tell(answer, {"error": str(error), "status": error.exit_status, "errno": 0})
        sys.exit(error.exit_status)
    except OSError as error:
        _tell(answer, {"error": error.strerror or str(error), "status": 4, "errno": error.errno or 0})
        sys.exit(4)
    except Exception as error:
        # A fault of ours: the launcher's user hears of it, since the log is not there yet.
        _tell(answer, {"error": f"{type(error).__name__}: {error}", "status": 1, "errno": 0})
        sys.exit(1)
    _tell(answer, {"ready": os.getpid()})
    sys.exit(running.wait())


class _Running:
    """A module that is registered, with its engine and its log."""

    def __init__(self, request: dict[str, Any]) -> None:
        from modnet import _native
        from modnet._spec import REVOCABLE_QUEUE, SEND_QUEUE
        from modnet.loader import Spec, canonical, load
        from modnet.log import Log

        spec = Spec.from_json(request["spec"])
        self.module = load(spec)
        self.log = Log(request["runtime"], self.module.name)
        sys.stdout = sys.stderr = self.log
        _raise_soft_limit()
        self.engine = _native.Engine(
            self.module,
            name=self.module.name,
            runtime_dir=request["runtime"],
            hooks=self.module.hooks(),
            spec=json.dumps(
                {"module": spec.text, "same": canonical(spec, self.module), "log": str(self.log.path)}
            ),
            persistent=request["persistent"],
            drain=spec.options.drain,
            send_queue=spec.options.send_queue or SEND_QUEUE,
            revocable=(spec.options.send_queue or REVOCABLE_QUEUE) if self.module.revocable else None,
            workers=spec.options.workers,
        )
        _started(self.module)
        try:
            self.engine.start()
            self.log.open()
            # By descriptor 2, which is the log's whatever file that is: a number of the log's own is somebody
            # else's when the log has turned.
            faulthandler.enable(2)
            _obey_signals(self.engine, self.module, spec.options.drain)
        except BaseException:
            self.module._stop()
            self.log.end()
            raise

    def wait(self) -> int:
        """Returns the exit status once everything has ended."""
        try:
            self.engine.wait()
            self.module._stop()
        except Exception:
            traceback.print_exc()
            return 1
        finally:
            self.log.end()
        return 0


def _started(module: Any) -> None:
    try:
        module.start()
    except (ModnetError, OSError):
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{module.name}: start() raised {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        raise UsageError(told) from error


def _obey_signals(engine: Any, module: Any, drain: float) -> None:
    """SIGTERM and SIGINT drain; a second one ends at once. SIGHUP has a module that can do so read its files
    anew; what is wrong with them stands in the log.

    The main thread is in `wait`, outside Python, where no handler runs: the interpreter writes each signal's
    number into a pipe, and a thread reads it. (Blocking the signals instead would be inherited by what a
    module starts.)
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def ignore(number: int, frame: FrameType | None) -> None:
        """The pipe tells; but without a handler there is nothing to tell."""

    numbers = [signal.SIGTERM, signal.SIGINT]
    if can_reload(module):
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, ignore)

    def wait() -> None:
        left = [drain, 0.0]
        while left:
            (number,) = os.read(reader, 1)
            if number == signal.SIGHUP:
                _, wrong = module._reload()
                print(f"SIGHUP: {wrong}" if wrong else "SIGHUP: read anew")
            else:
                engine.stop(left.pop(0))

    threading.Thread(target=wait, name="modnet-signals", daemon=True).start()


def _raise_soft_limit() -> None:
    """Each flow takes several descriptors: as many as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _redirect(path: str, flags: int, *fds: int) -> None:
    new = os.open(path, flags)
    for fd in fds:
        os.dup2(new, fd)
    if new not in fds:
        os.close(new)


def _tell(answer: int, message: dict[str, Any]) -> None:
    try:
        os.write(answer, json.dumps(message).encode() + b"\n")
    except OSError as error:
        # The launcher has been killed; whoever else uses the name finds a module that works.
        if error.errno != errno.EPIPE:
            raise
    os.close(answer)


if __name__ == "__main__":
    main()
