"""Facts of the machine and of the build, without which a figure means nothing.

Rule: a debug build of the extension is refused here, for every experiment.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.common import cpu
from experiments.common.errors import ExperimentError

REPOSITORY = Path(__file__).resolve().parents[2]


def machine() -> dict[str, Any]:
    """Kernel, processor, memory, time, and where busy times come from."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    virtual = re.search(r"^flags\s*:.*\bhypervisor\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processor": model[1] if model else "unknown",
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "virtual": bool(virtual),
        "load_before": round(os.getloadavg()[0], 2),
        "busy_time": cpu.SOURCE,
    }


def build(tools: list[list[str]], product: bool) -> dict[str, Any]:
    """Commit, build profile and the versions that `tools` (commands) print first.

    Raises where the product is to be measured and is missing or built for debugging.
    """
    facts: dict[str, Any] = {"commit": commit(REPOSITORY)}
    if product:
        facts["modnet"] = _release_build()
    facts["python"] = platform.python_version()
    for argv in tools:
        facts[argv[0]] = _output(argv)
    return facts


def commit(checkout: Path) -> str:
    """Which commit a checkout stands at, and whether it has been changed since."""
    return _output(["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"])


def compile_c(source: Path, target: Path, *options: str) -> None:
    """Compiles one C file with the system's compiler, optimised."""
    try:
        done = subprocess.run(
            ["cc", "-O2", source, "-o", target, *options], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ExperimentError("cc is missing: apt-get install gcc libc6-dev") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if "error:" in line), lines[-1])
        raise ExperimentError(f"{source.name} does not compile: {reason}")


def _release_build() -> str:
    try:
        native = importlib.import_module("modnet._native")
    except ImportError as error:
        raise ExperimentError(
            f"the extension does not load in {sys.executable} ({error}): build it with `make build`"
        ) from None
    profile = getattr(native, "BUILD_PROFILE", "unknown")
    if profile != "release":
        raise ExperimentError(
            f"this is a {profile} build, whose figures mean nothing: build the release with `make build`"
        )
    return str(profile)


def _output(argv: list[str]) -> str:
    """The first line that a command prints: some print their version on stderr, wrk with a failing status."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError:
        return "missing"
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if lines else "unknown"
