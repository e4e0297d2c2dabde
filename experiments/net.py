"""Two small hosts in network namespaces, joined by a veth pair: where every experiment is measured.

On loopback the client's core does half of the server's network work, and what a module costs is hidden.
Here the packets of each host are processed on the core of that host (RPS), and its processes are pinned to
it.

    with Hosts() as hosts:
        server = hosts.server.popen(["nginx", …])       # in its namespace, on its core
        hosts.shape(1_000)                              # Mbit/s in both directions; None: unshaped

Rules: names carry their maker (common/owner.py); whoever starts first removes what dead makers left,
processes included, so a run that was killed with -9 leaves nothing for longer than until the next one.
It must not touch anything whose maker lives, nor any setting outside of the two namespaces.

`python -m experiments.net --clean` removes leftovers, `--check` says whether this machine can measure.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pyroute2 import IPRoute, NetlinkError, netns  # type: ignore[import-untyped]

from experiments.common import namespace, owner, processes, shaping
from experiments.common.errors import ExperimentError
from experiments.common.shaping import Shape

PREFIX = "modnet-"
NETNS = Path("/run/netns")
WORK = Path("/run/modnet-experiments")
DEVICE = "eth0"
# What a link may send at once beyond its rate. HTB wakes by a high-resolution timer, but a busy core comes
# late: 256 KB are 2 ms at 1 Gbit/s, and no smaller than four of the largest packets that TCP hands down.
BURST_BYTES = 256 * 1024

# Linux's own default. What a machine is set to must not change the figures: BBR without the fq queue paces by
# timers, and with it nginx alone served 1 MB files at 800/s where CUBIC reached 2,800/s (and a module seemed
# free).
CONGESTION = "cubic"


class Host:
    """One namespace: addresses `ipv4` and `ipv6`, processes and packets on `core`."""

    def __init__(self, name: str, core: int, number: int) -> None:
        self.name = name
        self.core = core
        self.ipv4 = f"10.99.0.{number}"
        self.ipv6 = f"fd99::{number}"
        netns.create(name)
        self._fd = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
        self.identity = processes.identity(NETNS / name)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace and on its core: sockets and children made meanwhile stay
        there.

        Chosen over a `preexec_fn`, which may deadlock once the parent has threads (a progress display has).
        """
        with namespace.entered(self._fd, self.core):
            yield

    def popen(self, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[str]:
        """Starts a process here, as `subprocess.Popen`, in a session of its own (Ctrl-C reaches only us)."""
        options.setdefault("start_new_session", True)
        options.setdefault("text", True)
        try:
            with self.entered():
                return subprocess.Popen([str(part) for part in argv], **options)
        except FileNotFoundError:
            raise ExperimentError(f"{argv[0]} is missing: install it (apt-get install {argv[0]})") from None

    def on(self, core: int) -> Host:
        """The same host, whose processes start on another core. Close the original only."""
        other = copy.copy(self)
        other.core = core
        return other

    def processes(self) -> list[int]:
        """The pids of the processes that are in this namespace."""
        return processes.in_namespace(self.identity)

    @contextlib.contextmanager
    def netlink(self) -> Iterator[IPRoute]:
        """A netlink socket of this namespace.

        Rejected: `IPRoute(netns=…)`, which forks a child that runs our signal handlers when it is ended by
        SIGTERM.
        """
        with self.entered(), IPRoute() as link:
            yield link

    def close(self) -> None:
        """Removes the namespace's name; the kernel removes the rest with its last process."""
        os.close(self._fd)
        _remove_namespace(self.name)


class Hosts:
    """`server` and `client`, and `work`, a folder that ends with them. A context manager. Needs root.

    `congestion` names the congestion control of all connections, those over loopback included; None: the
    machine's. With `router` a third host stands between them, unnoticed, and the link is shaped there, frame
    by frame. On the sender's own device TCP waits for each packet to be sent before it hands down the next:
    nothing is ever lost, and hardly anything queued.
    """

    def __init__(self, congestion: str | None = CONGESTION, router: bool = False) -> None:
        require_root()
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise ExperimentError("two cores are needed, one for each host: allow this process a second one")
        clean()
        self.killed: list[int] = []
        """Processes that were still there at the end and did not follow SIGTERM."""
        tag = owner.new_tag()
        with contextlib.ExitStack() as undo:
            self.work = WORK / tag
            self.work.mkdir(parents=True)
            undo.callback(shutil.rmtree, self.work)
            self.server = Host(f"{PREFIX}{tag}-server", cores[0], 1)
            undo.callback(self.server.close)
            self.client = Host(f"{PREFIX}{tag}-client", cores[1], 2)
            undo.callback(self.client.close)
            self.router = Host(f"{PREFIX}{tag}-router", cores[0], 3) if router else None
            if self.router:
                undo.callback(self.router.close)
            undo.callback(self._end_processes)
            self._join()
            if congestion:
                self._control(congestion)
            self._shape: Shape | None = None
            self._undo = undo.pop_all()

    def __enter__(self) -> Hosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.__exit__(kind, error, trace)
        if self.killed:
            print(f"note: processes that did not end by themselves: {self.killed}", file=sys.stderr)

    def shape(self, shape: float | Shape | None) -> None:
        """Limits each direction to a rate in Mbit/s of Ethernet frames, or as `Shape` says; None lifts the
        limit.

        A bare rate is for measuring throughput: HTB, since it lets the large packets of segmentation offload
        pass whole, as a network card takes them. TBF cuts every one that is larger than its bucket into
        frames, on the very core that is measured.
        """
        if isinstance(shape, int | float):
            shape = Shape(shape, BURST_BYTES)
        self._shape = shape
        for host, device in self._links:
            with host.netlink() as link:
                shaping.apply(link, link.link_lookup(ifname=device)[0], shape)

    def set_rate(self, mbit: float) -> None:
        """Changes the rate of a shaped link; what waits in its buffers stays there."""
        if self._shape is None:
            raise ExperimentError("the link is not shaped: call shape first")
        self._shape = self._shape.at(mbit)
        for host, device in self._links:
            with host.netlink() as link:
                shaping.change(link, link.link_lookup(ifname=device)[0], self._shape)

    @property
    def _links(self) -> list[tuple[Host, str]]:
        """Where each direction is shaped."""
        if self.router:
            return [(self.router, "to-client"), (self.router, "to-server")]
        return [(self.server, DEVICE), (self.client, DEVICE)]

    def _join(self) -> None:
        if self.router:
            self._bridge(self.router)
        else:
            with self.server.netlink() as link:
                peer = {"ifname": DEVICE, "net_ns_fd": self.client._fd}
                link.link("add", ifname=DEVICE, kind="veth", peer=peer)
        for host in (self.server, self.client):
            with host.netlink() as link:
                index = link.link_lookup(ifname=DEVICE)[0]
                link.addr("add", index=index, address=host.ipv4, prefixlen=24)
                # IFA_F_NODAD: usable at once; nobody else is on this link.
                link.addr("add", index=index, address=host.ipv6, prefixlen=64, flags=0x02)
                link.link("set", index=link.link_lookup(ifname="lo")[0], state="up")
                link.link("set", index=index, state="up")
            namespace.with_own_sys(host._fd, functools.partial(_settle, host.core))

    def _bridge(self, router: Host) -> None:
        with router.netlink() as link:
            link.link("add", ifname="bridge", kind="bridge")
            (bridge,) = link.link_lookup(ifname="bridge")
            for device, host in (("to-server", self.server), ("to-client", self.client)):
                peer = {"ifname": DEVICE, "net_ns_fd": host._fd}
                link.link("add", ifname=device, kind="veth", peer=peer)
                link.link("set", index=link.link_lookup(ifname=device)[0], master=bridge, state="up")
            link.link("set", index=bridge, state="up")
        for host in (self.server, self.client):
            with host.netlink() as link:
                # TCP hands down single frames: the router has no large packets to pass whole.
                link.link("set", index=link.link_lookup(ifname=DEVICE)[0], gso_max_segs=1)

    def _control(self, congestion: str) -> None:
        """By routes: the sysctl refuses most names in a namespace, though not the machine's own default."""
        metrics = {"cc_algo": congestion}
        try:
            for host in (self.server, self.client):
                with host.netlink() as link:
                    index, loopback = (link.link_lookup(ifname=name)[0] for name in (DEVICE, "lo"))
                    link.route(
                        "replace",
                        dst="10.99.0.0/24",
                        oif=index,
                        prefsrc=host.ipv4,
                        scope="link",
                        metrics=metrics,
                    )
                    # Before the route that came with the address, whose metric is 256.
                    link.route("add", dst="fd99::/64", oif=index, priority=128, metrics=metrics)
                    local = {
                        "oif": loopback,
                        "table": 255,
                        "type": "local",
                        "scope": "host",
                        "metrics": metrics,
                    }
                    for own in ("127.0.0.0/8", "127.0.0.1/32"):
                        link.route("replace", dst=own, proto="kernel", prefsrc="127.0.0.1", **local)
        except NetlinkError as error:
            raise ExperimentError(
                f"congestion control {congestion!r} cannot be had ({error}): load its module"
            ) from None

    def _end_processes(self) -> None:
        # A process may fork while it is being ended: look again until nobody is there.
        for _ in range(10):
            pids = [*self.server.processes(), *self.client.processes()]
            if not pids:
                return
            self.killed += processes.end(pids, grace_s=2.0)


def _settle(core: int) -> None:
    """Packets that arrive here are processed on `core`; enough ports for a new connection each."""
    Path(f"/sys/class/net/{DEVICE}/queues/rx-0/rps_cpus").write_text(cpu_mask(core))
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")


def cpu_mask(core: int) -> str:
    """A core as the kernel reads it: hexadecimal, in words of 32 bits with commas between."""
    digits = f"{1 << core:x}"
    head = len(digits) % 8
    words = [digits[:head]] * (head > 0) + [digits[i : i + 8] for i in range(head, len(digits), 8)]
    return ",".join(words)


def require_root() -> None:
    """Raises where namespaces cannot be made."""
    if os.geteuid() != 0:
        raise ExperimentError("network namespaces and their packets' cores need root: run this with sudo")


def leftovers() -> list[Path]:
    """Namespaces and work folders whose maker has ended."""
    found = []
    for folder, prefix in ((NETNS, PREFIX), (WORK, "")):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                tag = path.name.removeprefix(prefix)
                for role in ("-server", "-client", "-router"):
                    tag = tag.removesuffix(role)
                if path.name.startswith(prefix) and owner.is_dead(tag):
                    found.append(path)
    return found


def clean() -> list[Path]:
    """Removes leftovers and ends the processes in them; answers what was removed."""
    removed = leftovers()
    # Another run may be removing the same: what is gone is gone.
    for path in removed:
        with contextlib.suppress(FileNotFoundError):
            if path.parent == WORK:
                shutil.rmtree(path)
                continue
            identity = processes.identity(path)
            while pids := processes.in_namespace(identity):
                processes.end(pids, grace_s=1.0)
            _remove_namespace(path.name)
    return removed


def _remove_namespace(name: str) -> None:
    try:
        netns.remove(name)
    except OSError:
        # Killed between making the name and mounting the namespace on it.
        (NETNS / name).unlink(missing_ok=True)


if __name__ == "__main__":
    from experiments.common.netcheck import main

    raise SystemExit(main())
