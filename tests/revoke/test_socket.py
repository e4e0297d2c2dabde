"""`RevocableSocket`: what can be taken back, and that all else is as with a plain socket."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest
from modnet.errors import UsageError
from modnet.revoke import RevocableSocket

from tests.revoke.pairs import PATIENCE, connected, read_all, wait_until

MUCH = 8 << 20


@pytest.fixture
def pair() -> Iterator[tuple[RevocableSocket, socket.socket]]:
    ours, peer = connected(room=4096)
    with RevocableSocket(ours) as revocable, peer:
        yield revocable, peer


def pattern(length: int) -> bytes:
    return bytes(range(251)) * (length // 251) + bytes(range(length % 251))


# --- taking back ----------------------------------------------------------------------------------


def test_what_is_yanked_never_arrives_and_everything_else_does(
    pair: tuple[RevocableSocket, socket.socket],
) -> None:
    ours, peer = pair
    ours.settimeout(0)
    data = pattern(MUCH)
    sent = ours.send(data)
    assert 4 << 20 <= sent <= MUCH
    taken = ours.yank(1000)
    assert taken == data[sent - 1000 : sent]
    assert ours.send(b"instead") == 7
    ours.close()
    assert read_all(peer) == data[: sent - 1000] + b"instead"


def test_only_a_millisecond_or_two_segments_are_beyond_recall(
    pair: tuple[RevocableSocket, socket.socket],
) -> None:
    ours, peer = pair
    ours.settimeout(0)
    sent = ours.send(pattern(1 << 20))
    taken = len(ours.yank(sent))
    ours.close()
    # The peer's window, and what lies in the kernel: a connection's first window.
    assert len(read_all(peer)) == sent - taken < 200_000


def test_under_a_lock_nothing_goes_and_the_last_bytes_stay_the_last(
    pair: tuple[RevocableSocket, socket.socket],
) -> None:
    ours, peer = pair
    with ours.lock():
        ours.write(b"good morning")
        ours.sendall(b", late")
        assert ours.peek(7) == ours.yank(7) == b"morning"
        assert (ours.peek(100), ours.unsent) == (b"good ", 11)
        ours.write(b"evening")
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        peer.settimeout(PATIENCE)
    ours.close()
    assert read_all(peer) == b"good evening, late"


def test_what_one_thread_holds_another_is_refused(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, _ = pair
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ours.lock():
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    for refused in (lambda: ours.yank(1), lambda: ours.peek(1), lambda: ours.write(b"x")):
        with pytest.raises(BlockingIOError, match="another thread holds the lock"):
            refused()
    done.set()
    holder.join()
    assert ours.yank(1) == b""


def test_nothing_unsent_is_nothing_yanked(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, peer = pair
    ours.sendall(b"gone")
    assert peer.recv(10) == b"gone"
    assert (ours.yank(10), ours.peek(10), ours.yank(0), ours.unsent) == (b"", b"", b"", 0)


def test_a_yank_makes_room_for_a_sender_that_waits(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, _ = pair
    ours.settimeout(0)
    with ours.lock(), pytest.raises(BlockingIOError):
        while True:
            ours.send(bytes(1 << 20))
    ours.settimeout(PATIENCE)
    sender = threading.Thread(target=ours.sendall, args=(bytes(100_000),))
    sender.start()
    while sender.is_alive():
        ours.yank(1 << 20)
        sender.join(0.01)


# --- as a plain socket ----------------------------------------------------------------------------


def test_flush_waits_for_the_kernel_to_have_everything(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, peer = pair
    ours.settimeout(0)
    sent = ours.send(pattern(MUCH))
    with pytest.raises(TimeoutError):
        ours.flush(0.05)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_all(peer)))
    reader.start()
    ours.flush(PATIENCE)
    ours.close()
    reader.join()
    assert got[0] == pattern(MUCH)[:sent]


def test_a_full_queue_blocks_as_the_timeout_says(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, _ = pair
    ours.settimeout(0.05)
    with pytest.raises(TimeoutError, match="timed out"):
        ours.sendall(bytes(64 << 20))
    with pytest.raises(TimeoutError):
        ours.send(b"x")
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.sendall(b"x")
    ours.setblocking(True)
    with pytest.raises(BlockingIOError):
        ours.send(b"x", socket.MSG_DONTWAIT)


def test_a_shutdown_comes_behind_what_waits_and_reading_goes_on(
    pair: tuple[RevocableSocket, socket.socket],
) -> None:
    ours, peer = pair
    ours.settimeout(0)
    sent = ours.send(pattern(1 << 20))
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        ours.send(b"more")
    assert len(read_all(peer)) == sent
    peer.sendall(b"answer")
    ours.settimeout(PATIENCE)
    assert ours.recv(100) == b"answer"


def test_files_buffers_and_pieces_arrive(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, peer = pair
    assert ours.sendfile(io.BytesIO(b"0123456789"), offset=2, count=5) == 5
    assert ours.sendmsg([b"ab", bytearray(b"cd"), memoryview(b"ef")]) == 6
    assert ours.send(memoryview(b"-g-h-")[::1]) == 5
    import array

    ours.sendall(array.array("H", [1]))
    with ours.makefile("wb") as file:
        file.write(b"file")
    ours.close()
    assert read_all(peer) == b"23456abcdef-g-h-" + bytes(array.array("H", [1])) + b"file"


def test_receiving_is_untouched(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, peer = pair
    peer.sendall(b"one\ntwo")
    with ours.makefile("rb") as file:
        assert file.readline() == b"one\n"
        assert file.read(3) == b"two"
    peer.sendall(b"three")
    buffer = bytearray(10)
    assert ours.recv_into(buffer) == 5 and buffer[:5] == b"three"
    assert ours.getpeername() == peer.getsockname()


def test_what_tcp_cannot_is_refused_in_its_words(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, peer = pair
    for refused, number in (
        (lambda: ours.send(b"x", socket.MSG_OOB), errno.EOPNOTSUPP),
        (lambda: ours.sendto(b"x", peer.getsockname()), errno.EISCONN),
        (lambda: ours.sendmsg([b"x"], [], 0, peer.getsockname()), errno.EISCONN),
        (lambda: ours.sendmsg([b"x"], [(1, 1, b"")]), errno.EOPNOTSUPP),
        (ours.dup, errno.EOPNOTSUPP),
    ):
        with pytest.raises(OSError) as error:
            refused()
        assert error.value.errno == number
    ours.close()
    for call in (lambda: ours.send(b"x"), lambda: ours.sendall(b"")):
        with pytest.raises(OSError) as error:
            call()
        assert error.value.errno == errno.EBADF


def test_only_a_plain_connected_tcp_socket_is_taken() -> None:
    ours, peer = connected()
    with RevocableSocket(ours) as revocable, peer:
        assert ours.fileno() == -1 and revocable.fileno() > 0
        with pytest.raises(UsageError, match="plain"):
            RevocableSocket(revocable)
    with socket.socket() as alone, pytest.raises(OSError) as refused:
        RevocableSocket(alone)
    assert refused.value.errno == errno.ENOTCONN and "connect it" in str(refused.value)
    with socket.socket(socket.AF_UNIX) as unix, pytest.raises(OSError) as refused:
        RevocableSocket(unix)
    assert refused.value.errno == errno.EINVAL


def test_a_peer_that_resets_is_told_once_with_the_reason(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, peer = pair
    ours.settimeout(0)
    ours.send(pattern(MUCH))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    wait_until(lambda: ours.unsent == 0, "the end of what waits")
    with pytest.raises(ConnectionResetError):
        ours.send(b"x")
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")


def test_a_descriptor_is_given_away_once_the_kernel_has_everything(
    pair: tuple[RevocableSocket, socket.socket],
) -> None:
    ours, peer = pair
    ours.sendall(b"before ")
    fd = ours.detach()
    with socket.socket(fileno=fd) as plain:
        plain.sendall(b"after")
    assert read_all(peer) == b"before after"


def test_a_signal_s_handler_runs_while_a_send_waits(pair: tuple[RevocableSocket, socket.socket]) -> None:
    ours, _ = pair

    class Alarm(Exception):
        pass

    def handler(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            ours.sendall(bytes(64 << 20))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_process_that_ends_sends_what_waits_first() -> None:
    program = textwrap.dedent("""
        import socket, sys
        from modnet.revoke import RevocableSocket
        ours = RevocableSocket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
        ours.setblocking(False)
        print(ours.send(bytes(3_000_000)), flush=True)
    """)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argv = [sys.executable, "-c", program, str(listener.getsockname()[1])]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            peer, _ = listener.accept()
            assert child.stdout is not None
            sent = int(child.stdout.readline())
            with peer:
                assert len(read_all(peer)) == sent == 3_000_000
            assert child.wait(PATIENCE) == 0


def test_a_child_is_refused_and_leaves_the_parent_s_bytes_alone(
    pair: tuple[RevocableSocket, socket.socket],
) -> None:
    ours, peer = pair
    child = os.fork()
    if child == 0:
        try:
            ours.send(b"child's")
        except OSError as error:
            os._exit(0 if error.errno == errno.EOPNOTSUPP and "fork" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ours.sendall(b"parent's")
    ours.close()
    assert read_all(peer) == b"parent's"
