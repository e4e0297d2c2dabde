"""Every command of the README is run, and its module is the one in examples/.

Rules: the README is the input, so that a command that is added to it and not known here fails. `make`
targets that would run these tests again, or rebuild what runs them, are looked up instead.
"""

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest
from modnet.cli import modnet

from tests.lib.place import Place
from tests.lib.process import Program, listening
from tests.lib.users import ordinary, root

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
# `demo` is run by test_demo.
LOOKED_UP = {"make build", "make test", "make check", "make demo"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]
COMPRESSED = [line for line in COMMANDS if "-m gzip" in line]
MAKES = next(line for line in COMMANDS if line.startswith("mkdir"))
MEASURES = [line for line in COMMANDS if line.startswith("curl -so")]
SERVER = next(line for line in COMMANDS if "http.server" in line)
CLIENT = next(line for line in COMMANDS if line.startswith("curl"))
LOOKS = [
    line
    for line in COMMANDS
    if line.startswith(".venv/bin/modnet") and line != SERVER and line not in COMPRESSED
]


def here(command: str) -> list[str]:
    """The command's words, with this interpreter's environment in .venv's place."""
    words = shlex.split(command)
    return [str(Path(sys.executable).parent / "modnet"), *words[1:]] if "modnet" in words[0] else words


@pytest.fixture(scope="module")
def place():
    mine = Place(root() if os.geteuid() == 0 else ordinary())
    yield mine
    mine.remove()


@pytest.fixture(scope="module")
def server(place):
    """The README's server, on a port of ours; the commands that look around have something to see."""
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in here(SERVER)]
    words[-1] = str(place.port)
    place.write("hello.txt", "hello, world")
    program = Program(place, words, "server")
    program.wait_for(lambda: listening(place.port), 30, "a listener")
    yield program
    program.stop()


def test_the_module_comes_before_any_prose():
    first = README.split("\n", 2)[2].lstrip()
    assert first.startswith("```python\n")


def test_the_module_is_the_one_in_examples_and_short():
    (shown,) = blocks("python")
    assert shown == (ROOT / "examples" / "shout.py").read_text()
    assert len(shown.splitlines()) <= 20


def test_every_command_is_run_or_looked_up():
    known = {*LOOKED_UP, SERVER, CLIENT, *LOOKS, MAKES, *COMPRESSED, *MEASURES}
    assert known == set(COMMANDS) and len(COMPRESSED) == 3 and len(MEASURES) == 2


@pytest.mark.parametrize("command", sorted(LOOKED_UP))
def test_make_knows_its_target(command):
    # Not by --dry-run: that waits for a build which runs at the moment.
    known = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert f"  {command} " in known


def test_the_server_answers_in_capitals(place, server):
    port = SERVER.rsplit(None, 1)[1]
    assert f":{port}/" in CLIENT
    url = CLIENT.split()[-1].replace(f":{port}/", f":{place.port}/")
    page = subprocess.run(["curl", "-sS", url], check=True, capture_output=True, text=True).stdout
    assert "HELLO.TXT" in page
    assert page == page.upper()
    with urllib.request.urlopen(url + "hello.txt", timeout=10) as answer:
        assert answer.read() == b"HELLO, WORLD"


@pytest.mark.parametrize("command", LOOKS)
def test_the_other_commands_run(place, server, command):
    done = subprocess.run(here(command), env=place.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    # Nobody is connected: top has no line.
    assert bool(done.stdout) != (" top " in command)
    if command.endswith((" ps", " list")):
        assert "shout" in done.stdout


def test_every_command_that_prose_names_exists():
    """`modnet …` between backticks, wherever a user reads: the words before what is in capitals."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *ROOT.glob("experiments/*/README.md")]
    named = {found for file in files for found in re.findall(r"`modnet ([a-z][^`]*)`", file.read_text())}
    assert len(named) > 10
    for text in named:
        command, words = modnet, text.split()
        while words and isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, f"there is no `modnet {text}`"
            command, words = found, words[1:]


@pytest.mark.parametrize("number", range(3))
def test_the_bytes_before_and_after_are_those_of_the_table(number):
    """Each server that the README compresses for is started, and asked as it says."""
    rows = re.findall(r"^\| (.*?) \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    command, (name, before, after) = COMPRESSED[number], rows[number]
    assert name.split()[0] in command
    own = Place(root() if os.geteuid() == 0 else ordinary())
    try:
        folder, port = f"{own.directory}/report", re.findall(r"\b800\d\b", command)[0]
        changed = command.replace("/tmp/report", folder).replace(port, str(own.port))
        subprocess.run(MAKES.replace("/tmp/report", folder), shell=True, check=True)
        words = [str(ROOT / word) if word.startswith("examples/") else word for word in here(changed)]
        program = Program(own, words, name)
        program.wait_for(lambda: listening(own.port), 30, "a listener")
        came = []
        for measure in MEASURES:
            asked = shlex.split(measure.replace(":8001/", f":{own.port}/"))
            came.append(int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout))
        program.stop()
    finally:
        own.remove()
    assert came[0] == int(before)
    # The level is the policy's, so it is about as many.
    assert abs(came[1] / int(after) - 1) < 0.25, came
