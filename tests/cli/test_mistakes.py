"""Every mistake of `modnet run`: one line that says what to do, a status that is not 0, nothing started,
nothing left (the fixture counts).
"""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

FORWARDER = ("-m", "forwarder")
MODULE = "import modnet\n\nclass Shout(modnet.Module):\n    "


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("nosuch", "no module named 'nosuch'"),
        ("forwardr", "did you mean 'forwarder'?"),
        ("nosuch.py:Class", "no such file"),
        ("nosuch.package:Class", "no Python module"),
        ("throttle", "needs the setting 'rate'"),
        ("throttle,rat=1MB", "did you mean 'rate'?"),
        ("throttle,rate=fast", "must be bytes per second"),
        ("forwarder,send_queue=1", "4KiB"),
        ("forwarder,as=../x", "not allowed"),
        ("forwarder,as=" + "x" * 32, "longer than 31"),
        ("forwarder,oops", "not key=value"),
        ("", "no module in"),
    ],
)
def test_in_a_module_or_setting(modnet: Modnet, module: str, said: str) -> None:
    assert said in modnet.refused("run", "-m", module, "--", "true")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def outbound(self, flow, data:\n", "SyntaxError"),
        ("def outbound(self, data): return data\n", "outbound(self, flow, data)"),
        ("async def outbound(self, flow, data): return data\n", "async"),
        ("def outbond(self, flow, data): return data\n", "outbound"),
        ("x = 1/0\n", "ZeroDivisionError"),
        ("def start(self): raise RuntimeError('no luck')\n", "no luck"),
        ("def start(self): open('/nonexistent/file')\n", "No such file"),
    ],
)
def test_in_the_code_of_a_module(modnet: Modnet, code: str, said: str) -> None:
    path = modnet.place.write("shout.py", MODULE + code)
    assert said in modnet.refused("run", "-m", f"{path}:Shout", "--", "true")


def test_an_end_of_the_interpreter_while_a_module_starts_is_told(modnet: Modnet) -> None:
    path = modnet.place.write("shout.py", MODULE + "def start(self):\n        import os; os._exit(3)\n")
    assert "did not start" in modnet.refused("run", "-m", f"{path}:Shout", "--", "true")


def test_a_start_that_is_interrupted_leaves_nothing(modnet: Modnet) -> None:
    path = modnet.place.write("shout.py", MODULE + "def start(self):\n        import time; time.sleep(600)\n")
    running = modnet.popen("run", "-m", f"{path}:Shout", "--", "true")
    until(lambda: modnet.running("modnet.host"), 20, "the start")
    running.send_signal(signal.SIGINT)
    # One line break, so that the prompt stands below the ^C.
    assert running.communicate(timeout=30) == ("", "\n")
    assert running.returncode == 130


def test_one_of_several_modules_fails_and_the_others_go(modnet: Modnet) -> None:
    path = modnet.place.write("shout.py", MODULE + "def start(self): raise RuntimeError('no luck')\n")
    said = modnet.refused("run", *FORWARDER, "-m", f"{path}:Shout", "-m", "forwarder,as=b", "--", "true")
    assert "no luck" in said


def test_the_same_name_twice(modnet: Modnet) -> None:
    assert "as=NAME" in modnet.refused("run", *FORWARDER, *FORWARDER, "--", "true")


def test_a_chain_that_is_too_long(modnet: Modnet) -> None:
    chain = [word for number in range(17) for word in ("-m", f"forwarder,as=f{number}")]
    assert "16" in modnet.refused("run", *chain, "--", "true")


@pytest.mark.parametrize(("name", "status"), [("nosuchcommand", 127), ("./nosuchfile", 127), ("/etc", 126)])
def test_a_command_that_is_none(modnet: Modnet, name: str, status: int) -> None:
    modnet.refused("run", *FORWARDER, "--", name)
    assert modnet("run", *FORWARDER, "--", name).returncode == status


def test_a_command_that_is_not_executable(modnet: Modnet) -> None:
    path = modnet.place.write("script", "#!/bin/sh\n")
    assert "chmod +x" in modnet.refused("run", *FORWARDER, "--", str(path))


def test_a_script_whose_interpreter_is_missing(modnet: Modnet) -> None:
    path = _executable(modnet, "#!/no/such/interpreter\n")
    assert "/no/such/interpreter" in modnet.refused("run", *FORWARDER, "--", str(path))


def _executable(modnet: Modnet, text: str) -> Path:
    path = modnet.place.write("script", text)
    path.chmod(0o755)
    return path


def test_a_static_program(modnet: Modnet) -> None:
    path = _compiled(modnet, "-static")
    assert "static" in modnet.refused("run", *FORWARDER, "--", str(path))
    script = _executable(modnet, f"#!{path}\n")
    assert "static" in modnet.refused("run", *FORWARDER, "--", str(script))


def test_a_32_bit_program(modnet: Modnet) -> None:
    path = _compiled(modnet)
    data = bytearray(path.read_bytes())
    data[4] = 1  # EI_CLASS
    path.write_bytes(data)
    assert "32-bit" in modnet.refused("run", *FORWARDER, "--", str(path))


def test_a_program_of_another_libc(modnet: Modnet) -> None:
    path = _compiled(modnet)
    data = path.read_bytes()
    old = b"/lib64/ld-linux-x86-64.so.2\0" if b"ld-linux-x86-64" in data else b"/lib/ld-linux-aarch64.so.1\0"
    path.write_bytes(data.replace(old, b"/lib/ld-musl.so.1".ljust(len(old), b"\0")))
    assert "glibc" in modnet.refused("run", *FORWARDER, "--", str(path))


@pytest.mark.root
def test_a_set_uid_program(modnet: Modnet) -> None:
    path = _compiled(modnet)
    os.chown(path, 65534, 65534)
    path.chmod(0o755 | stat.S_ISUID)
    assert "set-uid" in modnet.refused("run", *FORWARDER, "--", str(path))


def _compiled(modnet: Modnet, *flags: str) -> Path:
    source = modnet.place.write("program.c", "int main(void) { return 0; }\n")
    path = modnet.place.directory / "program"
    subprocess.run([shutil.which("cc") or "gcc", *flags, "-o", path, source], check=True)
    return path


def test_a_runtime_directory_that_is_missing_or_closed(modnet_as: Modnet) -> None:
    modnet = modnet_as
    given = modnet.place.environment()

    def refused(path: Path | str) -> str:
        return modnet.refused("run", *FORWARDER, "--", "true", env=given | {"MODNET_RUNTIME_DIR": str(path)})

    assert "does not exist" in refused(modnet.place.directory / "no" / "parent")
    assert "is not a directory" in refused(modnet.place.write("file", ""))
    link = modnet.place.directory / "link"
    link.symlink_to(modnet.runtime)
    assert "symbolic link" in refused(link)
    wide = modnet.place.directory / "wide"
    wide.mkdir()
    os.chown(wide, modnet.place.user.uid, modnet.place.user.gid)
    wide.chmod(0o777)
    assert "chmod go-w" in refused(wide)
    assert "MODNET_RUNTIME_DIR" in refused("/tmp/" + "x" * 60)


@pytest.mark.root
def test_a_runtime_directory_of_somebody_else(modnet_as: Modnet) -> None:
    modnet = modnet_as
    other = modnet.place.directory / "other"
    other.mkdir()
    os.chown(other, 1, 1)
    given = modnet.place.environment() | {"MODNET_RUNTIME_DIR": str(other)}
    assert "belongs to user 1" in modnet.refused("run", *FORWARDER, "--", "true", env=given)


def test_a_runtime_directory_without_write_permission(modnet_as: Modnet) -> None:
    modnet = modnet_as
    mode = modnet.runtime.stat().st_mode
    modnet.runtime.chmod(0o511)
    # Modes stop root nowhere, but a directory of root's that is not 0711 is refused all the same.
    said = modnet.refused("run", *FORWARDER, "--", "true")
    modnet.runtime.chmod(mode)
    assert str(modnet.runtime) in said


def test_a_living_module_with_other_settings(modnet: Modnet) -> None:
    first = modnet.server("throttle,rate=1MB")
    said = modnet.refused("run", "-m", "throttle,rate=2MB", "--", "true")
    assert "as=NAME" in said and "modnet module stop throttle" in said
    # Another way to write the same settings is the same module.
    assert modnet("run", "-m", "throttle,rate=1000kB/s", "--", "true").returncode == 0
    ended(first)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "did you mean 'run'?"),
        (["run"], "CMD"),
        (["run", "--fial", "open", "--", "true"], "did you mean '--fail'?"),
        (["run", "--fail", "opne", "--", "true"], "'open', 'closed'"),
        (["module", "stop", "nosuch"], "no module named 'nosuch' is running"),
        (["module", "stop"], "--all"),
        (["module", "show", "forwardr"], "did you mean 'forwarder'?"),
        (["module", "start", "forwardr"], "did you mean 'forwarder'?"),
        (["apply", "4194304000", "forwarder"], "there is no process"),
        (["apply", "forwarder"], "no process number"),
        (["apply", "1"], "--none"),
        (["apply", "--match", "no such command line", "forwarder"], "no process started by modnet run"),
        (["apply", "--match", "(", "forwarder"], "regular expression"),
        (["ps", "--jsno"], "--json"),
        (["completion", "tcsh"], "bash"),
    ],
)
def test_of_the_other_subcommands(modnet: Modnet, arguments: list[str], said: str) -> None:
    assert said in modnet.refused(*arguments)
