"""CPython's test_socket with every accepted TCP connection made revocable; prints the outcome of each test.

    python cpython_socket.py        in an interpreter with its test package, `python/` on its path

It must not change what a test does.
"""

import socket
import sys
import unittest

from modnet.revoke import RevocableSocket

# What sends and receives over an accepted connection.
CLASSES = (
    "BasicTCPTest",
    "BufferIOTest",
    "FileObjectClassTestCase",
    "UnbufferedFileObjectClassTestCase",
    "LineBufferedFileObjectClassTestCase",
    "SmallBufferedFileObjectClassTestCase",
    "SendfileUsingSendTest",
    "SendrecvmsgConnectedStreamTests",
    "SendmsgTCPTest",
    "RecvmsgTCPTest",
    "RecvmsgIntoTCPTest",
    "NonBlockingTCPTests",
    "TCPTimeoutTest",
    "NetworkConnectionNoServer",
    "NetworkConnectionBehaviourTest",
    "ContextManagersTest",
    "InheritanceTest",
)
KNOWN = {
    "BasicTCPTest.testDup": "a revocable socket has no duplicates",
}

_accept = socket.socket.accept
made = 0


def accept(listener):  # type: ignore[no-untyped-def]  # in place of the standard library's
    """As before, and revocable where it is TCP."""
    global made
    connection, address = _accept(listener)
    if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
        made += 1
        timeout = connection.gettimeout()
        connection = RevocableSocket(connection)
        connection.settimeout(timeout)
    return connection, address


def main() -> None:
    """Runs the classes that this version has."""
    from test import test_socket

    socket.socket.accept = accept  # type: ignore[method-assign,assignment]
    suite = unittest.TestSuite()
    for name in CLASSES:
        if hasattr(test_socket, name):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(getattr(test_socket, name)))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    skipped = len(result.skipped)
    for test, trace in [*result.failures, *result.errors]:
        name = ".".join(test.id().split(".")[-2:])
        if name not in KNOWN:
            print(f"FAILED {name}: {trace.splitlines()[-1]}")
    print(f"ran {result.testsRun} skipped {skipped} revocable {made}")


if __name__ == "__main__":
    main()
