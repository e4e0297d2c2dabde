"""Kernels that lack a call, played by strace, which has it answered with ENOSYS."""

import subprocess

from tests.lib.modnet import Modnet
from tests.lib.process import until


def lacking(modnet: Modnet, call: str, *arguments: str) -> subprocess.Popen:
    """`modnet ARGUMENTS` where the kernel has no such call."""
    traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error=ENOSYS"]
    return subprocess.Popen(
        [*traced, *modnet.argv(*arguments)],
        env=modnet.place.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kernel_before_5_3_is_told_in_one_line_and_by_doctor(modnet: Modnet) -> None:
    said = lacking(modnet, "pidfd_open", "run", "-m", "forwarder", "--", "true").communicate(timeout=60)
    assert said == (
        "",
        "modnet: this kernel, or a sandbox, has no pidfd_open: Linux 5.3 or newer is needed "
        "(see modnet doctor)\n",
    )
    out, _ = lacking(modnet, "pidfd_open", "doctor").communicate(timeout=60)
    [line] = [line for line in out.splitlines() if line.startswith("kernel  ")]
    assert line.split()[1] == "no" and "use Linux 5.3 or newer" in line


def test_a_kernel_before_5_9_has_its_janitor_at_once(modnet: Modnet) -> None:
    """It has no close_range: a loop over all numbers that there could be took minutes."""
    running = lacking(modnet, "close_range", "run", "-m", "forwarder", "--", "sh", "-c", "echo here; cat")
    assert running.stdout.readline() == "here\n"
    until(lambda: len(modnet.running("modnet.janitor")) == 1, 20, "the janitor")
    running.communicate(timeout=60)
