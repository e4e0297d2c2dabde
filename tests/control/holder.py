"""Registers a name with the real engine, says what came of it, and holds it until its input ends.

python holder.py RUNTIME NAME        prints `ready`, waits for a line, registers, prints `0` or the errno
"""

import sys

import modnet
from modnet import _native


class Nothing(modnet.Module):
    """Overrides no hook."""


def main() -> None:
    runtime, name = sys.argv[1:]
    module = Nothing()
    engine = _native.Engine(
        module,
        name=name,
        runtime_dir=runtime,
        hooks=Nothing.hooks(),
        spec="{}",
        persistent=True,
        drain=0.0,
        send_queue=1 << 18,
        revocable=None,
        workers=1,
    )
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        engine.start()
    except OSError as error:
        print(error.errno, error.strerror, flush=True)
        return
    print(0, flush=True)
    sys.stdin.read()
    engine.stop(0.0)
    engine.wait()


main()
