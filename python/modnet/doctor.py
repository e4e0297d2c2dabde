"""What works on this machine for this user: each capability with yes or no, why, and what to do.

Rules: a check asks the system by doing the thing, never by comparing versions; one that fails must not stop
the others. `needed` ones decide the exit status of `modnet doctor`; the rest is good to know. Must not:
leave anything behind, except the runtime directory itself.
"""

from __future__ import annotations

import os
import platform
import resource
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modnet.errors import ModnetError

__all__ = ["CHECKS", "Check", "examine"]


@dataclass(frozen=True)
class Check:
    """One capability."""

    name: str
    ok: bool
    why: str
    todo: str = ""
    """What to do about a no; empty where nothing needs to be done."""
    needed: bool = True
    """Whether `modnet run` cannot do without it."""


def examine() -> Iterator[Check]:
    """Makes every check, in order."""
    for check in CHECKS:
        try:
            yield check()
        except ModnetError as error:
            yield Check(_name(check), False, str(error), "as it says")
        except (OSError, subprocess.SubprocessError) as error:
            yield Check(_name(check), False, str(error), "see the system's message")


def _name(check: Callable[[], Check]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _build() -> Check:
    from modnet import _native

    why = f"modnet {_native.VERSION}, {_native.BUILD_PROFILE} build, Python {platform.python_version()}"
    ok = _native.BUILD_PROFILE == "release"
    return Check("build", ok, why, "" if ok else "measure nothing with it: make build", needed=False)


def _kernel() -> Check:
    """pidfd_open (5.3) is the newest call that nothing works without."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        why = f"Linux {platform.release()} refuses pidfd_open: {error.strerror}"
        return Check("kernel", False, why, "use Linux 5.3 or newer, or a sandbox that lets it through")
    return Check("kernel", True, f"Linux {platform.release()} on {platform.machine()}, with pidfd_open")


def _user() -> Check:
    if os.geteuid() == 0:
        return Check("user", True, "root: servers may drop privileges, their workers are stolen from too")
    return Check("user", True, f"user {os.geteuid()}: your own programs and modules; root is not needed")


def _shim() -> Check:
    from modnet import environment

    path = environment.shim()
    return Check("shim", True, f"{os.fsdecode(path)}, {environment.SHIM.stat().st_size // 1024} KiB")


def _preload() -> Check:
    """Preloads the shim into a program, without any chain, and sees it mapped."""
    from modnet import environment

    path = os.fsdecode(environment.shim())
    done = subprocess.run(
        ["cat", "/proc/self/maps"],
        env={**os.environ, "LD_PRELOAD": path},
        capture_output=True,
        timeout=10,
        check=False,
    )
    if done.returncode == 0 and environment.SHIM.name.encode() in done.stdout and not done.stderr:
        return Check("preload", True, "the dynamic linker loads the shim into programs")
    said = done.stderr.decode(errors="replace").strip().splitlines()
    why = said[0] if said else f"cat ended with {done.returncode} and has not mapped the shim"
    return Check("preload", False, why, "install a package that was built for this libc and processor")


def _shim_for_others() -> Check:
    from modnet import environment

    name = "shim for other users"
    closed = [p for p in (environment.SHIM, *environment.SHIM.parents) if not _open_to_others(p)]
    if not closed:
        return Check(name, True, "every user can load it", needed=False)
    return Check(
        name,
        False,
        f"{closed[-1]} is closed to others: programs that change their user and exec another print a "
        "line of ld.so and go without modules (those that only fork are not concerned)",
        "install modnet where everybody may read, or chmod o+rx",
        needed=False,
    )


def _open_to_others(path: Path) -> bool:
    wanted = stat.S_IXOTH if path.is_dir() else stat.S_IROTH
    return bool(path.stat().st_mode & wanted)


def _runtime_directory() -> Check:
    from modnet.registry import Registry

    path = Registry(prepare=True).path
    return Check("runtime directory", True, f"{path} is yours alone and writable")


def _sockets() -> Check:
    """Some file systems (of virtual machines, of networks) hold no UNIX sockets."""
    import socket

    from modnet.registry import Registry

    path = Registry(prepare=True).path
    kind = (socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        tempfile.TemporaryDirectory(prefix=".doctor", dir=path) as directory,
        socket.socket(*kind) as server,
        socket.socket(*kind) as client,
    ):
        server.bind(f"{directory}/s")
        server.listen()
        client.connect(f"{directory}/s")
    return Check("sockets", True, "modules can be registered there and reached")


def _descriptors() -> Check:
    from modnet import _native, environment
    from modnet.registry import told

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(environment.NR_OPEN.read_text())
    real = most if hard == resource.RLIM_INFINITY else hard
    privileged = _has_capability(24)
    with told():
        base, _, raised = _native.plan_room(real, most, privileged)
    why = f"limits {soft} and {real}; up to {base - 64} connections of one process can be stolen at a time"
    if raised is not None:
        why += " (the hard limit is raised for it, and hidden)"
    small = base < 4096
    return Check(
        "descriptors", not small, why, "raise the hard limit: ulimit -Hn 65536" if small else "", needed=False
    )


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _processes() -> Check:
    """Who uses a module is seen in /proc/PID/maps."""
    if os.geteuid() != 0:
        return Check("processes", True, "your own processes can be looked into")
    if _has_capability(19):
        return Check("processes", True, "all processes can be looked into")
    return Check(
        "processes",
        False,
        "root without CAP_SYS_PTRACE: workers that changed user are known by parent, group and session",
        "give the container CAP_SYS_PTRACE, if workers outlive all of these",
        needed=False,
    )


def _modules() -> Check:
    from modnet import loader

    broken = []
    for one in loader.available():
        try:
            loader.find(loader.parse(one.name))
        except ModnetError as error:
            broken.append(str(error))
    names = ", ".join(one.name for one in loader.available())
    if broken:
        return Check("modules", False, "; ".join(broken), "repair or uninstall the package", needed=False)
    return Check("modules", True, names)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    return Check("cores", True, f"{cores} for this process; a module gets one worker each")


def _ptrace() -> Check:
    return Check("ptrace", True, "not needed: kernel.yama.ptrace_scope may be anything", needed=False)


def _programs_of_32_bit() -> Check:
    name = "32-bit programs"
    if not Path("/lib/ld-linux.so.2").exists():
        return Check(name, True, "none can run here", needed=False)
    return Check(
        name,
        False,
        "not stolen from; where a command starts one, ld.so prints a line (wrong ELF class)",
        needed=False,
    )


def _static_programs() -> Check:
    return Check(
        "static programs",
        False,
        "not yet: nothing can be preloaded into them",
        needed=False,
    )


def _inspection() -> Check:
    """As a module of this user would find it."""
    from modnet import _native, inspection

    try:
        mode = _native.inspect_mode()
    except ValueError as error:
        return Check("inspection", False, str(error), "unset it, or set it to one of these", needed=False)
    if mode == "off":
        return Check("inspection", False, "switched off by MODNET_INSPECT=off", "unset it", needed=False)
    if mode == "sampled":
        why = "samples of TCP_INFO, at most 10 ms old, as MODNET_INSPECT=sampled demands"
        return Check("inspection", True, why, needed=False)
    now = inspection.status(attend=True)
    if now.ok:
        return Check("inspection", True, f"{now.directory}: {now.why}", needed=False)
    instead = "reading fails, as MODNET_INSPECT=bpf demands" if mode == "bpf" else "flows are sampled instead"
    return Check("inspection", False, f"{now.why}; {instead}", now.todo, needed=False)


def _kernel_yank() -> Check:
    """On a connection of our own over loopback."""
    from modnet import _native

    name = "kernel yank"
    try:
        took_us, without_windows, half_closed = _native.kernel_yank_probe()
    except PermissionError as error:
        why = f"{error.strerror}; bytes that the kernel has not been given yet need no privilege"
        return Check(name, False, why, "run modules that yank as root, if they must", needed=False)
    except OSError as error:
        return Check(name, False, error.strerror or str(error), "see the system's message", needed=False)
    why = f"unsent bytes came back out of a live connection in {took_us / 1000:.1f} ms"
    if without_windows:
        why += f"; congestion windows begin anew ({without_windows})"
    if not half_closed:
        why += "; not once the peer has closed its half, which needs CAP_NET_RAW"
    try:
        rescued = _native.kernel_yank_rescue()
    except OSError as error:
        why += f"; who is killed in the middle of one leaves no way back ({error.strerror})"
    else:
        # What a killed process has left goes now, as with `ps`.
        why += "".join(
            f"; a connection of process {pid}, left by a killed one: {became}" for pid, became in rescued
        )
    return Check(name, True, why, needed=False)


def _delegation() -> Check:
    """The whole way once: run, steal, forward."""
    from modnet.trial import MODULE, try_connection

    if try_connection() == 1:
        return Check("delegation", True, f"a connection of a server went through the module {MODULE}")
    return Check(
        "delegation",
        False,
        f"a server was run with the module {MODULE}, and its connection went past it",
        "run the same with a server of yours and see the counters of modnet ps",
    )


CHECKS: tuple[Callable[[], Check], ...] = (
    _build,
    _kernel,
    _user,
    _shim,
    _preload,
    _shim_for_others,
    _runtime_directory,
    _sockets,
    _descriptors,
    _processes,
    _cores,
    _modules,
    _ptrace,
    _programs_of_32_bit,
    _static_programs,
    _inspection,
    _kernel_yank,
    _delegation,
)
"""In the order in which one depends on the other."""
