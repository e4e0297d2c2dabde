"""The header and the library: they say the same, and any C and C++ compiler takes them."""

import re
import subprocess

from tests.calls.conftest import ROOT

HEADER = ROOT / "include/modnet.h"
LIBRARY = ROOT / "python/modnet/lib/libmodnet.so"


def test_the_header_declares_what_the_library_exports():
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(LIBRARY)], check=True, capture_output=True, text=True
    ).stdout
    exported = {line.split()[-1] for line in listed.splitlines()}
    declared = set(
        re.findall(r"^(?:int |const struct modnet_state \*)(modnet_\w+)\(", HEADER.read_text(), re.MULTILINE)
    )
    assert declared == exported
    assert "modnet_getsockets" in declared


def test_the_header_needs_nothing_before_it_in_c99(tmp_path, compiled):
    source = tmp_path / "alone.c"
    source.write_text("#include <modnet.h>\nint main(void) { return modnet_apply(-1, 0, 0) + 1; }\n")
    subprocess.run([compiled(source, standard="c99")], check=True)


def test_the_header_works_from_cpp(tmp_path, compiled):
    source = tmp_path / "plus.cc"
    source.write_text("#include <modnet.h>\nint main() { return modnet_register(nullptr) + 1; }\n")
    subprocess.run([compiled(source, "c++", "c++11")], check=True)


def test_the_forwarder_is_under_200_lines():
    assert len((ROOT / "examples/forwarder.c").read_text().splitlines()) < 200
