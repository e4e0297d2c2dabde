"""curl as a client: one request, and what came, the body decoded."""

from __future__ import annotations

import subprocess

from tests.servers.base import Running


def curl(up: Running, path: str, *options: str) -> tuple[dict[str, str], bytes, int]:
    """Headers of the last response, in small letters; its body, decoded; how many bytes of it came."""
    _, lines, body, came = asked(up, path, *options)
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return {"status": lines[0].split()[1], **{k.lower(): v for k, v in fields.items()}}, body, came


def asked(up: Running, path: str, *options: str) -> tuple[list[str], list[str], bytes, int]:
    """First lines of the responses before the last; the last one's head, line by line; the rest as `curl`."""
    here = up.place.directory
    url = path if "://" in path else f"http://127.0.0.1:{up.place.port}{path}"
    head, body = here / "came.head", here / "came.body"
    body.unlink(missing_ok=True)
    told = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "-D", head, "-o", body, "-w", "%{size_download}", *options, url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # Trailers follow the last head as a block of their own.
    blocks = head.read_text(encoding="latin-1").strip().split("\n\n")
    *before, last = [block for block in blocks if block.startswith("HTTP/")]
    lines = [one.splitlines()[0] for one in before]
    return lines, last.splitlines(), body.read_bytes() if body.exists() else b"", int(told)
