"""scripts/: what they do on machines that lack something, played with a PATH of stand-ins.

Rules: nothing is installed and nothing is fetched; a stand-in writes down how it was called.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BORROWED = (
    "sh",
    "dirname",
    "sed",
    "cut",
    "sort",
    "head",
    "mktemp",
    "env",
    "cat",
    "mkdir",
    "cp",
    "uname",
    "printf",
)


class Machine:
    """A PATH of our own, and what was called on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        self.home = directory / "home"
        self.calls = directory / "calls"
        for path in (self.bin, self.home):
            path.mkdir()
        self.calls.touch()
        for name in BORROWED:
            self.borrow(name)

    def borrow(self, name: str) -> None:
        """The real program."""
        for place in ("/usr/bin", "/bin"):
            if (Path(place) / name).exists():
                (self.bin / name).symlink_to(Path(place) / name)
                return

    def stand_in(self, name: str, body: str = "exit 0", directory: Path | None = None) -> None:
        """A script in a program's place."""
        path = (directory or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{body}\n')
        path.chmod(0o755)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        environment = {"PATH": str(self.bin), "HOME": str(self.home), "TMPDIR": str(self.directory)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, cwd=ROOT)

    def called(self, start: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.startswith(start)]


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def lacking_wrk(machine) -> Machine:
    """A machine that has all that the demo needs, but for wrk."""
    for name in ("cc", "clang", "pkg-config", "nginx", "rustc", "rm", "tee", "chmod"):
        machine.stand_in(name)
    machine.stand_in("python3", "echo /usr/bin/python3")
    machine.stand_in("apt-get")
    machine.stand_in("id", "echo 0")
    return machine


def test_a_machine_that_has_everything_needs_no_root(lacking_wrk):
    lacking_wrk.stand_in("wrk")
    done = lacking_wrk.run("scripts/bootstrap.sh", "demo")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert lacking_wrk.called("apt-get") == []


def test_what_is_missing_is_installed_and_nothing_else(lacking_wrk):
    done = lacking_wrk.run("scripts/bootstrap.sh", "demo")
    assert done.returncode == 0, done.stderr
    (install,) = [call for call in lacking_wrk.called("apt-get") if " install " in call]
    assert install.endswith("--no-install-recommends wrk")
    assert done.stderr.splitlines()[0] == "modnet: installing wrk"


def test_the_packages_that_are_installed_are_those_that_contributing_names():
    wanted = re.findall(r'need "?([a-z0-9+-]+)', (ROOT / "scripts/bootstrap.sh").read_text())
    wanted = [name for name in wanted if name != "package"]
    table = re.findall(r"^\| `make [^|]*\|([^|]*)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    packages = " ".join(table[:3]).replace(".N-testsuite", "").replace("libpython3", "libpython")
    assert len(wanted) > 20
    assert [
        name for name in wanted if not re.search(rf"(?<![\w+-]){re.escape(name)}(?![\w+-])", packages)
    ] == []


def test_build_does_not_ask_for_the_demos_packages(lacking_wrk):
    assert lacking_wrk.run("scripts/bootstrap.sh", "build").returncode == 0
    assert lacking_wrk.called("apt-get") == []


def test_services_are_kept_from_starting_while_we_install(lacking_wrk):
    policy = lacking_wrk.directory / "policy-rc.d"
    for name in ("rm", "tee", "chmod"):
        (lacking_wrk.bin / name).unlink()
        lacking_wrk.borrow(name)
    lacking_wrk.stand_in(
        "apt-get", f'[ -x {policy} ] && ! {policy} && echo "forbidden $*" >> {lacking_wrk.calls}'
    )
    lacking_wrk.run("env", f"POLICY_RC_D={policy}", "scripts/bootstrap.sh", "demo")
    assert any(" install " in call for call in lacking_wrk.called("forbidden"))
    assert not policy.exists()


def test_without_root_the_missing_package_is_named_in_one_line(lacking_wrk):
    lacking_wrk.stand_in("id", "echo 1000")
    lacking_wrk.stand_in("sudo", "exit 1")
    done = lacking_wrk.run("scripts/bootstrap.sh", "demo")
    assert done.returncode == 1
    assert (
        done.stderr
        == "modnet: missing packages: wrk (installing them needs root); as root: apt-get install wrk\n"
    )


def test_with_sudo_apt_alone_is_run_as_root(lacking_wrk):
    lacking_wrk.stand_in("id", "echo 1000")
    lacking_wrk.stand_in("sudo")
    assert lacking_wrk.run("scripts/bootstrap.sh", "demo").returncode == 0
    assert any("apt-get" in call and " install " in call for call in lacking_wrk.called("sudo -n"))
    assert lacking_wrk.called("apt-get") == []


def test_a_package_that_cannot_be_had_is_named(lacking_wrk):
    lacking_wrk.stand_in("apt-get", 'case "$*" in *install*) exit 100;; esac')
    done = lacking_wrk.run("scripts/bootstrap.sh", "demo")
    assert done.returncode == 1
    assert "missing packages: wrk (apt could not install them)" in done.stderr


def rust(version: str) -> str:
    return f'echo "rustc {version} (0123456 2026-01-01)"'


def test_a_rust_that_is_new_enough_is_used(machine):
    machine.stand_in("rustc", rust("1.95.0"))
    machine.stand_in("cargo", "echo built")
    done = machine.run("scripts/rust.sh", "cargo", "build")
    assert (done.returncode, done.stdout, done.stderr) == (0, "built\n", "")


def test_a_nightly_counts_by_its_number(machine):
    machine.stand_in("rustc", rust("1.97.0-nightly"))
    machine.stand_in("cargo", "echo built")
    assert machine.run("scripts/rust.sh", "cargo", "build").stdout == "built\n"


def test_a_rust_that_is_too_old_is_replaced_by_rustup_which_is_said(machine):
    machine.stand_in("rustc", f'[ -n "$RUSTUP_TOOLCHAIN" ] && {rust("1.95.0")} || {rust("1.63.0")}')
    machine.stand_in("cargo", "echo built")
    machine.stand_in("rustup")
    done = machine.run("scripts/rust.sh", "cargo", "build")
    assert (done.returncode, done.stdout) == (0, "built\n")
    assert "1.63.0 is older than" in done.stderr
    assert machine.called("rustup toolchain install stable")


def test_without_rust_rustup_is_fetched(machine):
    # The stand-in for curl writes an installer, and that one a toolchain, as the real ones do.
    toolchain = machine.home / ".cargo" / "bin"
    machine.stand_in("rustc-there", rust("1.95.0"))
    machine.stand_in("cargo-there", "echo built")
    installer = machine.directory / "installer"
    installer.write_text(
        f"mkdir -p {toolchain}\nfor f in rustc cargo; do cp {machine.bin}/$f-there {toolchain}/$f; done\n"
    )
    machine.stand_in("curl", f'while [ "$1" != -o ]; do shift; done; cp {installer} "$2"')
    machine.borrow("rm")
    done = machine.run("scripts/rust.sh", "cargo", "build")
    assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
    assert "fetching rustup" in done.stderr


@pytest.mark.parametrize("curl", ["exit 6", None])
def test_a_rust_that_cannot_be_had_ends_in_one_line(machine, curl):
    machine.borrow("rm")
    if curl:
        machine.stand_in("curl", curl)
    done = machine.run("scripts/rust.sh", "cargo", "build")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("modnet: Rust 1.")
    assert "https://rustup.rs" in done.stderr.splitlines()[-1]


def test_a_python_that_is_too_old_is_refused_in_one_line(machine):
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        machine.stand_in(name, "exit 1")
    done = subprocess.run(
        ["scripts/python.sh"],
        env={"PATH": str(machine.bin), "PYTHON": "python3"},
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_the_python_found_is_a_binary():
    found = subprocess.run(
        ["scripts/python.sh"], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.strip()
    assert Path(found).read_bytes()[:4] == b"\x7fELF"
    assert os.access(found, os.X_OK)


def test_a_library_is_replaced_by_rename(tmp_path):
    old, new = tmp_path / "lib.so", tmp_path / "new.so"
    old.write_text("old")
    new.write_text("new")
    with old.open() as mapped:
        subprocess.run(["scripts/place.sh", new, old], check=True, cwd=ROOT)
        assert (mapped.read(), old.read_text()) == ("old", "new")
