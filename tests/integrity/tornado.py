"""Tornado's own tests, which come with its package: an HTTP server and event loop in Python."""

import json
import sys
from pathlib import Path

from tests.integrity.suites import Suite

SHORT = ["tcpserver_test", "httpserver_test", "websocket_test", "web_test"]
FULL = [*SHORT, "iostream_test", "simple_httpclient_test", "netutil_test", "process_test", "wsgi_test"]

# Test by name: why it cannot pass under a module.
KNOWN = {
    f"tornado.test.iostream_test.{case}.test_inline_read_error": "its client and its "
    "server are one process, and natively the client's last message of the handshake has arrived when it is "
    "sent; through a module that is a process switch away"
    for case in ("TestIOStreamSSL", "TestIOStreamSSLContext")
}

RUNNER = Path(__file__).with_name("tornado_runner.py")


def suite(names: list[str]) -> Suite:
    """These of its modules, in one process."""

    def command(report: Path, only: str | None) -> list[str]:
        tests = [only] if only else [f"tornado.test.{name}" for name in names]
        # -P: the runner's folder, in which this file is, is not searched for `tornado`.
        return [sys.executable, "-P", str(RUNNER), str(report), *tests]

    return Suite("tornado", command, lambda report: json.loads(report.read_text()), KNOWN)
