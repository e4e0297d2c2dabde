"""Reading of wrk, of the kernel's clocks, of owners' tags; refusal of a debug build."""

import json
import os
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments import net
from experiments.common import cli, cpu, load, machine, owner, processes, runner
from experiments.common.errors import ExperimentError

TIMERS = """Timer List Version: v0.10
now at 1000000500 nsecs

cpu: 0
 clock 0:
  .idle_sleeptime : 600000000 nsecs
  .iowait_sleeptime: 50000000 nsecs
cpu: 1
  .idle_sleeptime : 7 nsecs
  .iowait_sleeptime: 0 nsecs

Tick Device: mode:     1
"""


def test_a_core_s_idle_time_is_its_own():
    assert cpu.parse(TIMERS, 0) == cpu.CoreTime(1000000500, 650000000)
    assert cpu.parse(TIMERS, 1) == cpu.CoreTime(1000000500, 7)


def test_a_kernel_that_shows_no_idle_time_is_named():
    with pytest.raises(ExperimentError, match="CONFIG_NO_HZ"):
        cpu.parse("now at 5 nsecs\ncpu: 0\n .idle_jiffies : 4\n", 0)


def test_busy_is_elapsed_less_idle():
    assert cpu.busy_s(cpu.CoreTime(10**9, 0), cpu.CoreTime(3 * 10**9, 5 * 10**8)) == 1.5


@pytest.mark.root
def test_a_core_that_is_kept_busy_reads_as_busy():
    core = max(os.sched_getaffinity(0))
    code = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code, str(core)], stdout=subprocess.PIPE) as spinner:
        try:
            spinner.stdout.readline()
            before = cpu.read(core)
            time.sleep(0.5)
            after = cpu.read(core)
        finally:
            spinner.kill()
    assert cpu.busy_s(before, after) * 1e9 >= 0.95 * (after.now_ns - before.now_ns) > 4e8


def test_a_process_cpu_clock_counts_its_work():
    before = processes.cpu_ns(os.getpid())
    began = time.process_time_ns()
    while time.process_time_ns() - began < 20_000_000:
        pass
    assert processes.cpu_ns(os.getpid()) - before >= 20_000_000


def test_a_process_that_is_gone_used_nothing_more():
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert processes.cpu_ns(ended.pid) == 0


def test_wrk_s_line_is_read_and_only_errors_that_happened_are_kept():
    line = (
        '{"duration_us":2000000,"requests":10,"bytes":4000,"p50_us":5,"p99_us":9,'
        '"errors":{"connect":0,"read":2,"write":0,"status":0,"timeout":1}}'
    )
    found = load.parse(f"Running 2s test @ http://x\n{line}\n", "")
    assert (found.duration_s, found.requests, found.received, found.p99_us) == (2.0, 10, 4000, 9)
    assert found.errors == {"read": 2, "timeout": 1}


def test_wrk_that_could_not_connect_gives_its_reason():
    with pytest.raises(ExperimentError, match="unable to connect"):
        load.parse("", "unable to connect to 10.99.0.1:1 Connection refused")


def test_tags_tell_the_living_from_the_dead():
    mine = owner.new_tag()
    pid, start, _ = mine.split("-")
    assert not owner.is_dead(mine)
    assert owner.is_dead(f"{pid}-{int(start) + 1}-0"), (
        "the pid was used again by a process that started later"
    )
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert owner.is_dead(f"{ended.pid}-1-0")
    assert owner.new_tag() != mine


def test_names_that_are_not_tags_are_nobody_s_to_remove():
    assert not any(owner.is_dead(name) for name in ("", "ys", "1-2", "1-2-3-4", "a-b-c"))


@pytest.mark.parametrize(
    ("core", "mask"), [(0, "1"), (1, "2"), (31, "80000000"), (32, "1,00000000"), (67, "8,00000000,00000000")]
)
def test_a_core_s_mask_is_written_in_words_of_32_bits(core, mask):
    assert net.cpu_mask(core) == mask


@pytest.mark.parametrize("profile", ["debug", None])
def test_a_debug_build_is_refused(monkeypatch, profile):
    native = types.ModuleType("modnet._native")
    if profile:
        native.BUILD_PROFILE = profile
    monkeypatch.setitem(sys.modules, "modnet._native", native)
    with pytest.raises(ExperimentError, match="figures mean nothing"):
        machine.build([], product=True)


def test_a_release_build_is_named(monkeypatch):
    native = types.ModuleType("modnet._native")
    native.BUILD_PROFILE = "release"
    monkeypatch.setitem(sys.modules, "modnet._native", native)
    assert machine.build([["cc", "--version"]], product=True)["modnet"] == "release"


def test_a_c_file_that_does_not_compile_gives_the_compiler_s_reason(tmp_path):
    source = tmp_path / "wrong.c"
    source.write_text("int main(void) { return nonsense; }\n")
    with pytest.raises(ExperimentError, match=r"wrong.c does not compile: .*nonsense"):
        machine.compile_c(source, tmp_path / "wrong")


def test_the_calibration_compiles_without_a_warning(tmp_path):
    source = Path(net.__file__).parent / "calibration" / "calls.c"
    machine.compile_c(source, tmp_path / "calls", "-Wall", "-Wextra", "-Werror")


def test_an_error_is_one_line_and_status_2(capsys):
    def main():
        raise ExperimentError("what to do")

    assert cli.guarded(main) == 2
    assert capsys.readouterr().err == "error: what to do\n"


@dataclass(frozen=True)
class Length:
    rounds: int = 10
    every_s: float = 0.5


def asked(*words):
    parser = cli.parser("x", "?")
    cli.add_numbers(parser, Length(), {"rounds": (1, "rounds"), "every_s": (0.2, "a pause")}, most=99)
    return parser.parse_args(words)


def test_what_the_user_gave_takes_the_place_of_what_quick_or_full_has():
    quick = Length(2, 0.3)
    assert cli.given(quick, asked()) == quick
    assert cli.given(quick, asked("--rounds", "7")) == Length(7, 0.3)
    assert cli.given(quick, asked("--every", "1")) == Length(2, 1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rounds", "0"), "--rounds: 0: 1 is the least"),
        (("--rounds", "100"), "--rounds: 100: 99 is the most"),
        (("--rounds", "1.5"), "--rounds: invalid whole number value: '1.5'"),
        (("--every", "nan"), "--every: nan: 0.2 is the least"),
    ],
)
def test_a_number_out_of_bounds_is_refused_in_one_line(words, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        asked(*words)
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)


def test_the_runner_prints_one_object_or_shows_what_was_measured(capsys, monkeypatch):
    def measure(_arguments):
        with runner.facts([], product=False) as facts:
            done = facts.task("steps", 3)
            done()
            done(2)
            assert facts.progress.finished
        facts.build["rounds"] = "3"
        return facts.report({"of": "nothing"}, [{"paper": None}], []), ["drawn"]

    shown = []
    for words in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["x", *words])
        runner.run(cli.parser("x", "?"), measure, lambda *what: shown.append(what))
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["machine", "build", "data", "rows", "checks"]
    assert printed["build"]["rounds"] == "3" and printed["machine"]["hypervisor_took_s"] >= 0
    ((report, results),) = shown
    assert report.data == {"of": "nothing"} and results == ["drawn"]


def test_words_are_checked_and_put_in_order():
    parse = cli.listed(("a", "b", "c"))
    assert parse("c,a") == ("a", "c")
    with pytest.raises(Exception, match="'x' is none of a, b, c"):
        parse("a,x")
