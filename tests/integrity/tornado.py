"""Tornado's own tests, which come with its package: an HTTP server and event loop in Python."""

import json
import sys
from pathlib import Path

from tests.integrity.suites import Suite

SHORT = ["tcpserver_test", "httpserver_test", "websocket_test", "web_test"]
FULL = [*SHORT, "iostream_test", "simple_httpclient_test", "netutil_test", "process_test", "wsgi_test"]

# Test by name: why it cannot pass under a module.
_AT_ONCE = (
    "client and server are one process, and natively what the one has sent has reached the other when the "
    "call returns; through a module it is a process switch away"
)
KNOWN = dict.fromkeys(
    [
        "tornado.test.iostream_test.TestIOStreamSSL.test_inline_read_error",
        "tornado.test.iostream_test.TestIOStreamSSLContext.test_inline_read_error",
        "tornado.test.simple_httpclient_test.SimpleHTTPSClientTestCase.test_ssl_context_handshake_fail",
        "tornado.test.simple_httpclient_test.SimpleHTTPSClientTestCase.test_error_logging",
    ],
    _AT_ONCE,
)

RUNNER = Path(__file__).with_name("tornado_runner.py")


def suite(names: list[str]) -> Suite:
    """These of its modules, in one process."""

    def command(report: Path, only: str | None) -> list[str]:
        tests = [only] if only else [f"tornado.test.{name}" for name in names]
        # -P: the runner's folder, in which this file is, is not searched for `tornado`.
        return [sys.executable, "-P", str(RUNNER), str(report), *tests]

    return Suite("tornado", command, lambda report: json.loads(report.read_text()), KNOWN)
