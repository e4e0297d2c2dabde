"""Prints what a process has inherited, one KEY=VALUE a line. Run natively and under `modnet run`, and
compared.
"""

import os
import resource
import signal
from pathlib import Path

for entry in sorted(Path("/proc/self/environ").read_bytes().split(b"\0")):
    if entry:
        key, _, value = entry.decode(errors="surrogateescape").partition("=")
        print(f"env {key}={value!r}")
print(
    "order="
    + ",".join(
        e.split(b"=")[0].decode()
        for e in Path("/proc/self/environ").read_bytes().split(b"\0")
        if e and not e.startswith((b"LD_PRELOAD", b"MODNET_RECORD"))
    )
)
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith(
        ("SigBlk", "SigIgn", "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Cpus_allowed_list")
    ):
        print(line.replace(":", "=", 1).replace("\t", " "))
for name in ("CORE", "FSIZE", "DATA", "STACK", "NOFILE", "NPROC"):
    print(f"limit {name}={resource.getrlimit(getattr(resource, 'RLIMIT_' + name))}")
print(f"usr1={signal.getsignal(signal.SIGUSR1)}")
print(f"fds={sorted(int(fd.name) for fd in Path('/proc/self/fd').iterdir())}")
print(f"cwd={Path.cwd()}")
print(f"nice={os.nice(0)}")
print(f"children={len(Path(f'/proc/self/task/{os.getpid()}/children').read_text().split())}")
print(f"session={os.getsid(0) == os.getsid(os.getppid())} group={os.getpgrp() == os.getpgid(os.getppid())}")
