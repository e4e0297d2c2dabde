"""Each errno of the header, from C. `ask` makes a call and prints its answer and errno."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.lib.users import ordinary

ASK = Path(__file__).parent / "c/ask.c"
ADD, DEL, MOD = "1", "2", "3"
STEAL, IN, RDNORM = str(1 << 24), "1", str(0x40)
ALL = str((1 << 63) - 1)


@pytest.fixture
def ask(modnet, compiled):
    def call(*arguments, **more) -> list[tuple[int, int]]:
        done = subprocess.run(
            [compiled(ASK), *map(str, arguments)],
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=modnet.place.environment(),
            timeout=30,
            **more,
        )
        return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]

    return call


def failed(number: int) -> tuple[int, int]:
    return (-1, number)


def test_a_name_is_registered_once_by_a_process(ask):
    assert ask("register", "one", "two") == [(0, 0), failed(errno.EBUSY), failed(errno.EFAULT)]


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 32, "é"])
def test_what_is_no_name(ask, name):
    assert ask("register", name)[0] == failed(errno.EINVAL)


def test_a_living_name_is_taken_and_a_dead_one_free(ask, modnet, compiled):
    holder = subprocess.Popen(
        [compiled(ASK), "register", "held"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=modnet.place.environment(),
    )
    assert holder.stdout.readline() == "0 0\n"
    assert ask("register", "held")[0] == failed(errno.EEXIST)
    holder.kill()
    holder.communicate()
    assert ask("register", "held")[0] == (0, 0)


def test_the_name_is_given_back_at_exit(ask, modnet):
    assert ask("register", "brief")[0] == (0, 0)
    assert modnet.files() == set()


def test_apply_needs_modules_that_live(ask):
    assert ask("apply", 0, "nobody") == [failed(errno.ENOENT)]


def test_apply_needs_a_process_of_modnet_run(ask):
    assert ask("apply", 0) == [failed(errno.EOPNOTSUPP)]
    assert ask("apply", 0, *["m"] * 17) == [failed(errno.EINVAL)]


def test_apply_needs_a_process(ask):
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert ask("apply", ended.pid, "nobody") == [failed(errno.ESRCH)]
    assert ask("apply", -1) == [failed(errno.ESRCH)]


@pytest.mark.root
def test_apply_needs_the_owner(ask, compiled):
    user = ordinary()
    compiled(ASK).parent.chmod(0o755)
    for parent in compiled(ASK).parents[1:3]:
        parent.chmod(0o755)
    done = ask("apply", os.getpid(), user=user.uid, group=user.gid, extra_groups=[])
    assert done == [failed(errno.EPERM)]


def test_getsockets(ask):
    assert ask("stranger") == [failed(errno.ENOTCONN)]
    assert ask("take", 4, ALL) == [failed(errno.EAGAIN)]
    assert ask("take", 4, 1) == [failed(errno.EAGAIN)]
    for most, mask in ((0, ALL), (-1, ALL), (4, 0), (4, -1), (4, 1 << 60)):
        assert ask("take", most, mask) == [failed(errno.EINVAL)]
    assert ask("take", 4, ALL, "null") == [failed(errno.EFAULT)]


def test_a_mask_in_an_epoll_set(ask):
    for mask in ("-1", "-" + ALL):
        assert ask("ctl", mask, STEAL, DEL, ADD, ADD, MOD, DEL, MOD) == [
            failed(errno.ENOENT),
            (0, 0),
            failed(errno.EEXIST),
            (0, 0),
            (0, 0),
            failed(errno.ENOENT),
        ]
    assert ask("ctl", "-1", IN, ADD) == [failed(errno.EINVAL)]
    assert ask("ctl", -(1 << 60), STEAL, ADD) == [failed(errno.EINVAL)]


def test_a_descriptor_in_an_epoll_set(ask):
    assert ask("ctl", 12345, IN, ADD) == [failed(errno.EBADF)]
    assert ask("ctl", 1, STEAL, ADD) == [failed(errno.EINVAL)]
    assert ask("ctl", 1, RDNORM, ADD) == [failed(errno.EINVAL)]
    assert ask("ctl", 1 << 40, IN, ADD) == [failed(errno.EBADF)]
