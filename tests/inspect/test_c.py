"""`modnet_map_state` of a plain TCP socket: the kernel's writing, and samples where there is none."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.calls.conftest import compiled  # noqa: F401 - a fixture

PLAIN = Path(__file__).with_name("c") / "plain.c"


def plain(compiled, **environment: str) -> dict:  # noqa: F811
    done = subprocess.run(
        [compiled(PLAIN)],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.root
def test_a_pointer_leads_to_what_the_kernel_writes(enabled, compiled):  # noqa: F811
    found = plain(compiled, MODNET_BPF_DIR=str(enabled.directory), MODNET_INSPECT="bpf")
    assert (found["source"], found["acked"]) == (1, 1000) and found["cwnd"] >= 10


def test_where_nothing_is_enabled_it_leads_to_samples(compiled):  # noqa: F811
    found = plain(compiled, MODNET_INSPECT="sampled")
    assert (found["source"], found["acked"]) == (2, 1000) and found["cwnd"] >= 10


def test_off_is_an_error(compiled):  # noqa: F811
    done = subprocess.run(
        [compiled(PLAIN)],
        env=os.environ | {"MODNET_INSPECT": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr == "modnet_map_state: Operation not supported\n"
