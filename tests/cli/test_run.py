"""`modnet run` becomes the command: whoever started it, and the command itself, notice nothing else."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.modnet import SECONDS, Modnet, ended
from tests.lib.process import until

FORWARDER = ("-m", "forwarder")
SHOW = Path(__file__).with_name("show_state.py")


def test_status_output_and_arguments_are_the_commands(modnet: Modnet) -> None:
    script = 'printf "%s|" "$0" "$@"; echo to stderr >&2; exit 42'
    done = modnet("run", *FORWARDER, "--", "sh", "-c", script, "zero", "-m", "--fail", "a b", "", "ä")
    assert (done.returncode, done.stdout, done.stderr) == (42, "zero|-m|--fail|a b||ä|", "to stderr\n")


def test_it_is_the_same_process(modnet: Modnet) -> None:
    with modnet.popen(
        "run", *FORWARDER, "--", "sh", "-c", "echo $$; exec cat", stdin=subprocess.PIPE
    ) as running:
        assert int(running.stdout.readline()) == running.pid
        running.stdin.write("through\n")
        running.stdin.flush()
        assert running.stdout.readline() == "through\n"
        assert Path(f"/proc/{running.pid}/comm").read_text() == "cat\n"
        assert running.communicate(timeout=SECONDS) == ("", "")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP, signal.SIGPIPE]
)
def test_signals_reach_the_command_and_its_end_by_one_is_seen(modnet: Modnet, number: signal.Signals) -> None:
    running = modnet.server("forwarder")
    running.send_signal(number)
    ended(running)
    assert running.returncode == -number


def test_a_handler_of_the_command_is_called(modnet: Modnet) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with modnet.popen("run", *FORWARDER, "--", "sh", "-c", script) as running:
        assert running.stdout.readline() == "ready\n"
        running.terminate()
        assert running.communicate(timeout=SECONDS)[0] == "caught\n"
    assert running.returncode == 5


def state(argv: list[str], **more) -> dict[str, str]:
    done = subprocess.run(
        [*argv, sys.executable, str(SHOW)], capture_output=True, text=True, check=True, **more
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_the_command_sees_what_it_would_see_without_us(modnet: Modnet) -> None:
    """Environment (also one that Python itself would change), signals, limits, descriptors, directory,
    children.
    """
    env = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C",
        "ODD": "a\nb=c",
        "MODNET_RUNTIME_DIR": str(modnet.runtime),
        "PYTHONPATH": modnet.place.environment()["PYTHONPATH"],
    }

    def setup() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    native = state([], env=env, preexec_fn=setup)
    ours = state([*modnet.argv("run", *FORWARDER), "--"], env=env, preexec_fn=setup)
    added = {key for key in ours if key not in native}
    assert added == {"env LD_PRELOAD", "env MODNET_RECORD"}
    assert {key: ours[key] for key in native} == native


def test_no_signal_is_ignored_that_was_not_before(modnet: Modnet) -> None:
    """Python ignores two for itself; `state` cannot show them, being Python too."""
    argv = ["sh", "-c", "grep -E 'Sig(Ign|Blk)' /proc/self/status"]
    native = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert modnet("run", *FORWARDER, "--", *argv).stdout == native


def test_inherited_descriptors_are_the_commands_alone(modnet: Modnet) -> None:
    """As with a service manager's sockets: the command has them, no process of ours keeps them open."""
    reader, writer = os.pipe()
    argv = ("run", *FORWARDER, "--", sys.executable, "-c", f"import os; os.write({writer}, b'mine')")
    with modnet.popen(*argv, pass_fds=[writer]) as running:
        os.close(writer)
        assert os.read(reader, 100) == b"mine"
        running.communicate(timeout=SECONDS)
    # The module and the janitor may still be there; the pipe has ended.
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_the_commands_children_are_its_own(modnet: Modnet) -> None:
    """`wait` of a process that knows its children must not find one that it did not make."""
    look = "import os\ntry: print(os.waitpid(-1, os.WNOHANG))\nexcept ChildProcessError: print('none')"
    assert modnet("run", *FORWARDER, "--", sys.executable, "-c", look).stdout == "none\n"


def test_a_program_with_address_sanitizer(modnet: Modnet) -> None:
    source = modnet.place.write(
        "program.c", "#include <stdlib.h>\nint main(void) { free(malloc(9)); return 7; }\n"
    )
    path = modnet.place.directory / "program"
    subprocess.run(["cc", "-fsanitize=address", "-o", path, source], check=True)
    done = modnet("run", *FORWARDER, "--", str(path))
    assert (done.returncode, done.stderr) == (7, "")


def test_from_a_directory_that_is_gone(modnet: Modnet) -> None:
    script = 'd=$(mktemp -d) && cd "$d" && rmdir "$d" && exec "$@"'
    argv = ["sh", "-c", script, "sh", *modnet.argv("run", *FORWARDER, "--", "true")]
    done = subprocess.run(argv, env=modnet.place.environment(), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2, 4)
    assert len(done.stderr.splitlines()) == (done.returncode != 0)


def test_a_command_without_a_header_is_a_shell_script_as_for_execvp(modnet: Modnet) -> None:
    path = modnet.place.write("plain", "echo plain $1\nexit 3\n")
    path.chmod(0o755)
    done = modnet("run", "--", str(path), "word")
    assert (done.returncode, done.stdout) == (3, "plain word\n")


def test_scripts_with_an_interpreter_line(modnet: Modnet) -> None:
    path = modnet.place.write("script", "#!/usr/bin/env sh\necho $0 $1\n")
    path.chmod(0o755)
    assert modnet("run", "--", str(path), "word").stdout == f"{path} word\n"


def test_the_users_own_preloaded_libraries_stay_first(modnet: Modnet) -> None:
    given = modnet.place.environment() | {"LD_PRELOAD": "libm.so.6 libdl.so.2"}
    done = modnet("run", "--", "sh", "-c", "echo $LD_PRELOAD", env=given)
    first, second, ours = done.stdout.strip().split(":")
    assert (first, second, Path(ours).name) == ("libm.so.6", "libdl.so.2", "libmodnet_shim.so")


def test_runs_share_a_module_and_it_ends_with_the_last(modnet: Modnet) -> None:
    first, second = modnet.server("forwarder"), modnet.server("forwarder")
    [host] = modnet.running("modnet.host")
    ended(first)
    assert "modules/forwarder/control" in modnet.files()
    # Longer than a module without users waits.
    third = modnet.server("forwarder")
    ended(second)
    assert modnet.running("modnet.host") == [host]
    ended(third)
    until(lambda: not modnet.running("modnet.host"), 10, "the module to end")


def test_a_killed_command_is_a_user_that_has_gone(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    running.kill()
    ended(running)
    until(lambda: not modnet.running("modnet.host"), 10, "the module to end")


def test_an_orphan_keeps_the_module(modnet: Modnet) -> None:
    script = "exec 3<&0; sh -c 'echo orphan; cat' <&3 & exit 0"
    reader, writer = os.pipe()
    running = modnet.popen("run", *FORWARDER, "--", "sh", "-c", script, stdin=reader)
    os.close(reader)
    assert running.stdout.readline() == "orphan\n"
    running.wait(SECONDS)
    [host] = modnet.running("modnet.host")
    # A second run finds it, so it has not ended, and a census finds the orphan.
    assert modnet("run", *FORWARDER, "--", "true").returncode == 0
    assert modnet.running("modnet.host") == [host]
    os.close(writer)
    running.communicate(timeout=SECONDS)


def test_twenty_at_once_start_each_module_once(modnet: Modnet) -> None:
    chain = [*FORWARDER, "-m", "forwarder,as=second", "-m", "throttle,rate=1MB"]
    many = [
        modnet.popen("run", *chain, "--", "sh", "-c", "echo here; cat", stdin=subprocess.PIPE)
        for _ in range(20)
    ]
    for running in many:
        line = running.stdout.readline()
        assert line == "here\n", running.communicate()[1]
    assert len(modnet.running("modnet.host")) == 3
    for running in many:
        assert ended(running) == ("", "")
        assert running.returncode == 0


def test_one_after_the_other_while_the_module_ends(modnet: Modnet) -> None:
    """A run that comes in the moment in which the module goes starts it anew, or keeps it."""
    for _ in range(30):
        done = modnet("run", *FORWARDER, "--", "sh", "-c", "exit 9")
        assert (done.returncode, done.stderr) == (9, "")


def test_a_killed_module_is_started_anew(modnet: Modnet) -> None:
    first = modnet.server("forwarder")
    [old] = modnet.running("modnet.host")
    os.kill(old, signal.SIGKILL)
    second = modnet.server("forwarder")
    assert modnet.running("modnet.host") not in ([], [old])
    ended(first)
    ended(second)


def test_everything_killed_at_once_leaves_nothing(modnet: Modnet) -> None:
    """The fixture's census is the test: nobody is left who could clean up after himself."""
    running = modnet.server("forwarder", "forwarder,as=second")
    for pid in [running.pid, *modnet.running("modnet.host")]:
        os.kill(pid, signal.SIGKILL)
    ended(running)


def test_a_run_within_a_run_has_its_own_chain(modnet: Modnet) -> None:
    inner = " ".join(modnet.argv("run", "-m", "forwarder,as=inner", "--", "sh", "-c"))
    look = " ".join(modnet.argv("ps", "--json"))
    done = modnet("run", *FORWARDER, "--", "sh", "-c", f"{inner} '{look}'; true")
    assert done.returncode == 0, done.stderr
    import json

    chains = [process["chain"] for process in json.loads(done.stdout)["processes"]]
    assert sorted(chains) == [["forwarder"], ["inner"]]


def test_it_starts_quickly_when_its_modules_live(modnet: Modnet) -> None:
    """Processor time, not time on the clock: other tests may run beside this one."""
    running = modnet.server("forwarder")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    rounds = 5
    for _ in range(rounds):
        assert modnet("run", *FORWARDER, "--", "true").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / rounds
    ended(running)
    assert used < 0.3, f"{used:.3f} s of processor time for one run"
