"""Reading a connection's state as a module reads its flow's: `modnet.calls.map_state`, from either source.

| source | is |
| --- | --- |
| bpf | written by the kernel with every packet: `modnet inspect enable`, in a folder of this run's own |
| sampled | taken from TCP_INFO, at most every ten milliseconds: where the other cannot be had |

Rule: what this run enabled is disabled with it. It must not estimate.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from modnet import calls, inspection
from modnet.errors import ModnetError

from experiments.common import owner
from experiments.common.errors import ExperimentError

SOURCES = ("bpf", "sampled")
Reading: TypeAlias = Any
"""A `modnet._native.TcpSnapshot`: all that `modnet.estimate.Snapshot` asks for, and more."""
_PINS = Path("/sys/fs/bpf")
_FOLDER = "MODNET_BPF_DIR"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder of this run's own, in which inspection may be enabled; disabled at the end.

    By the folder alone: `MODNET_INSPECT` is read once in a process, and tests read from both.
    """
    own = _PINS / f"modnet-experiment-{owner.new_tag()}"
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(own)
    try:
        yield own
    finally:
        if own.exists():
            inspection.disable()
        if before is None:
            del os.environ[_FOLDER]
        else:
            os.environ[_FOLDER] = before


@contextlib.contextmanager
def enabled(source: str) -> Iterator[None]:
    """Connections opened meanwhile are read from `source`. Raises where that cannot be had."""
    with folder():
        if source == "bpf":
            try:
                inspection.enable()
            except ModnetError as error:
                raise ExperimentError(f"{error}; or measure with --source sampled") from None
        yield


def of(connection: socket.socket) -> Callable[[], Reading]:
    """What reads this connection's state, as it stands together."""
    return calls.map_state(connection.fileno()).snapshot
