"""Who may inspect, what everybody else gets, and one clear line for each thing that may be missing."""

import json
import os
import subprocess
import sys

import pytest

from tests.inspect.conftest import MODNET, Enabled, run_python
from tests.lib.users import User, ordinary

pytestmark = pytest.mark.root

READ = """
import json, socket, sys
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
tcp = calls.map_state(server.fileno())
try:
    print(json.dumps([tcp.source, tcp.reason, tcp.cwnd]))
except OSError as error:
    print(json.dumps(["error", error.errno, error.strerror]))
"""

DOCTOR = """
import json
from modnet import doctor
check = doctor._inspection()
print(json.dumps([check.ok, check.why, check.todo]))
"""

OPENS = """
import json, os, sys
can = {}
for name in ("states", "control", "chosen", "wanted", "answers"):
    path = os.path.join(sys.argv[1], name)
    can[name] = [os.access(path, mode) for mode in (os.R_OK, os.W_OK)]
print(json.dumps(can))
"""

# Tries to write a state by call and by mapping, as a member of the group can open it.
WRITES = """
import ctypes, json, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, *fields):
    attributes = struct.pack("".join(k for k, _ in fields), *(v for _, v in fields))
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    answer = libc.syscall(321, command, buffer, len(attributes))
    return answer if answer >= 0 else -ctypes.get_errno()
path = ctypes.create_string_buffer((sys.argv[1] + "/states").encode())
fd = bpf(7, ("Q", ctypes.addressof(path)), ("I", 0), ("I", 0))
key, value = ctypes.c_uint32(0), ctypes.create_string_buffer(256)
update = bpf(2, ("I", fd), ("I", 0), ("Q", ctypes.addressof(key)), ("Q", ctypes.addressof(value)), ("Q", 0))
try:
    mapped = bool(mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
except OSError as error:
    mapped = -error.errno
print(json.dumps([fd >= 0, update, mapped]))
"""


def group() -> User:
    """`nobody`, whose group is the one that is let in."""
    return ordinary()


def stranger() -> User:
    return User("daemon", 1, 1)


def where(place: Enabled) -> dict[str, str]:
    return {"MODNET_BPF_DIR": str(place.directory)}


def test_a_user_of_the_group_reads_what_the_kernel_writes(place):
    place.enable("--group", str(group().gid))
    assert run_python(READ, user=group(), **where(place)) == ["bpf", None, 10]
    ok, why, _ = run_python(DOCTOR, user=group(), **where(place))
    assert ok and "slots in use" in why


def test_nobody_else_can_open_the_maps(place):
    place.enable("--group", str(group().gid))
    assert run_python(READ, user=stranger(), **where(place)) == [
        "sampled",
        "it is enabled for another group",
        10,
    ]
    nothing = [False, False]
    assert run_python(OPENS, str(place.directory), user=stranger()) == dict.fromkeys(
        ("states", "control", "chosen", "wanted", "answers"), nothing
    )
    ok, why, todo = run_python(DOCTOR, user=stranger(), **where(place))
    assert not ok and "another group" in why and "--group" in todo


def test_no_member_of_the_group_can_write_a_state(place):
    place.enable("--group", str(group().gid))
    opened, update, mapped = run_python(WRITES, str(place.directory), user=group())
    assert opened and update < 0 and mapped < 0


def test_without_a_group_it_is_roots_alone(place):
    place.enable()
    assert run_python(READ, **where(place)) == ["bpf", None, 10]
    assert run_python(READ, user=group(), **where(place))[0] == "sampled"


def test_where_nothing_is_enabled_flows_are_sampled_and_doctor_says_what_to_do(place):
    assert run_python(READ, user=group(), **where(place)) == [
        "sampled",
        "it is not enabled on this machine",
        10,
    ]
    ok, why, todo = run_python(DOCTOR, user=group(), **where(place))
    assert not ok and "sampled instead" in why and "modnet inspect enable" in todo


@pytest.mark.parametrize("mode", ["auto", "bpf", "sampled", "off"])
@pytest.mark.parametrize("is_enabled", [True, False])
def test_each_mode_can_be_forced(place, mode, is_enabled):
    if is_enabled:
        place.enable()
    found = run_python(READ, **where(place), MODNET_INSPECT=mode)
    expected = {
        "auto": ["bpf", None, 10] if is_enabled else ["sampled", "it is not enabled on this machine", 10],
        "bpf": ["bpf", None, 10] if is_enabled else ["error"],
        "sampled": ["sampled", "sampling was asked for (MODNET_INSPECT=sampled)", 10],
        "off": ["error"],
    }[mode]
    assert found[: len(expected)] == expected
    if expected == ["error"]:
        assert found[1] == 95 and "cannot inspect: " in found[2]
    _, why, _ = run_python(DOCTOR, **where(place), MODNET_INSPECT=mode)
    assert mode == "auto" or is_enabled or f"MODNET_INSPECT={mode}" in why


def refused(*command: str, **environment: str) -> str:
    """What `enable` said when it failed: one line."""
    done = subprocess.run(
        [*command, *MODNET, "inspect", "enable"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and done.stdout == "", done
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("modnet: "), done.stderr
    return lines[0]


def test_a_kernel_without_btf_is_named(place):
    hidden = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs t /sys/kernel/btf && exec "$@"', "sh")
    said = refused(*hidden, **where(place))
    assert "/sys/kernel/btf/vmlinux" in said and "BTF" in said
    assert not place.directory.exists()


def test_without_cap_bpf_it_is_named(place):
    said = refused(
        "setpriv", "--bounding-set", "-bpf,-sys_admin", *("--inh-caps", "-bpf,-sys_admin"), **where(place)
    )
    assert "CAP_BPF" in said
    assert not place.directory.exists()


def test_a_directory_that_is_no_bpf_file_system_is_named(tmp_path):
    assert "mount -t bpf" in refused(MODNET_BPF_DIR=str(tmp_path / "modnet"))


def test_an_ordinary_user_is_told_to_be_root(place):
    script = "import modnet.cli; modnet.cli.main(['inspect', 'enable'])"
    done = subprocess.run(
        ["setpriv", "--reuid", "1", "--clear-groups", sys.executable, "-c", script],
        env=os.environ | where(place),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode != 0 and done.stderr.count("\n") == 1 and "sudo modnet inspect enable" in done.stderr
    )


def test_enabling_twice_and_disabling_nothing_is_told(place):
    place.enable()
    assert "enabled already" in refused(**where(place))
    assert place.inspect("disable").returncode == 0
    done = place.inspect("disable")
    assert done.returncode != 0 and "not enabled" in done.stderr


def test_status_says_as_much_in_json(place):
    before = place.inspect("status", "--json")
    assert before.returncode == 1 and json.loads(before.stdout)["ok"] is False
    place.enable("--slots", "128")
    after = place.inspect("status", "--json")
    assert after.returncode == 0 and json.loads(after.stdout)["counters"]["slots"] == 128
    assert "in_use" in place.inspect("status").stdout


def test_what_another_user_has_put_there_is_not_trusted(place):
    place.directory.mkdir()
    os.chown(place.directory, stranger().uid, stranger().gid)
    assert run_python(READ, **where(place))[:2] == ["sampled", "its directory belongs to another user"]
    place.directory.rmdir()
