"""A state has one layout: for the programs in the kernel, for C, for Rust and Python."""

import re
import subprocess
from pathlib import Path

from modnet import _native

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
%(before)s
#include "%(header)s"
#define SHOW(type, field) printf(#field " %%zu %%zu\\n", offsetof(type, field), sizeof ((type *)0)->field);
int main(void) { %(shows)s return 0; }
"""


def layout(tmp_path: Path, header: Path, state: str, packet: str, before: str = "") -> list:
    """As a C compiler has it."""
    names = [name for name, _, _ in _native.STATE_LAYOUT]
    at = names.index("arrival_ns")
    shows = "".join(f"SHOW(struct {state}, {name})" for name in names[:at])
    shows += "".join(f"SHOW(struct {packet}, {name})" for name in names[at:])
    source = tmp_path / "layout.c"
    source.write_text(SOURCE % {"before": before, "header": header, "shows": shows})
    program = tmp_path / "layout"
    subprocess.run(["cc", "-o", str(program), str(source)], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    return [(name, int(offset), int(size)) for name, offset, size in map(str.split, lines)]


def test_c_rust_python_and_the_programs_agree(tmp_path):
    bpf = layout(
        tmp_path,
        ROOT / "crates/inspect/bpf/state.h",
        "sock_state",
        "packet",
        "typedef uint32_t u32; typedef uint64_t u64;",
    )
    header = layout(tmp_path, ROOT / "include/modnet.h", "modnet_state", "modnet_packet")
    assert bpf == header == _native.STATE_LAYOUT


def test_every_field_is_an_attribute_with_a_unit():
    internal = {"sequence", "version", "check", "reserved"}
    names = {name for name, _, _ in _native.STATE_LAYOUT} - internal
    packet = {name for name in names if hasattr(_native.TcpPacket, name)}
    for kind, wanted in ((_native.Tcp, names - packet), (_native.TcpSnapshot, names - packet)):
        assert wanted <= set(dir(kind))
        assert all(getattr(kind, name).__doc__ for name in wanted)
    assert len(packet) == 6


def test_the_versions_agree():
    texts = {
        "crates/abi/src/sockstate.rs": r"STATE_VERSION: u32 = (\d+)",
        "crates/inspect/bpf/state.h": r"STATE_VERSION (\d+)",
        "include/modnet.h": r"MODNET_STATE_VERSION (\d+)",
    }
    found = {re.search(pattern, (ROOT / path).read_text())[1] for path, pattern in texts.items()}
    assert len(found) == 1
