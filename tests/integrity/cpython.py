"""CPython's own network tests, from whichever interpreter here has its test package."""

import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

from tests.integrity.suites import Suite
from tests.lib.users import Broken

SHORT = ["test_socketserver", "test_httpservers", "test_selectors"]
# Suites that run only where a resource is granted, though all they use is the loopback.
RESOURCES = {"test_socketserver": ["-u", "network"]}
FULL = [
    "test_socket",
    "test_asyncio",
    "test_ssl",
    "test_httpservers",
    "test_socketserver",
    "test_ftplib",
    "test_selectors",
    "test_poplib",
    "test_imaplib",
    "test_smtplib",
    "test_xmlrpc",
    "test_urllib2_localnet",
]

# Suites that accept no TCP connection.
WITHOUT_TCP = {"test_selectors"}
# Never run: a connection over vsock to oneself hangs natively in some virtual machines, and concerns no TCP
# socket.
IGNORED = "*VSOCK*"

# Test by name: why it cannot pass under a module.
KNOWN: dict[str, str] = {
    "test.test_ssl.TestPreHandshakeClose.test_preauth_data_to_tls_client": "it closes with SO_LINGER 0 and "
    "wants its client reset when close returns; the module resets it some microseconds later",
}


def suite(name: str) -> Suite:
    """One of the lists above."""

    def command(report: Path, only: str | None) -> list[str]:
        # regrtest's own deadline, of the whole file, shows where a test hangs.
        argv = [python(), "-m", "test", "--timeout", "240", "--junit-xml", str(report), "-v"]
        # With both, regrtest takes no notice of -m.
        return [*argv, *RESOURCES.get(name, []), *(["-m", only] if only else ["-i", IGNORED]), name]

    return Suite(name, command, read, KNOWN, accepts=name not in WITHOUT_TCP)


def python() -> str:
    """An interpreter that has its test package; Broken if there is none."""
    for candidate in (sys._base_executable, "/usr/bin/python3"):  # type: ignore[attr-defined]
        if not subprocess.run([candidate, "-c", "import test.test_socket"], capture_output=True).returncode:
            return candidate
    raise Broken(
        "no Python here has its test package: apt-get install libpython3.N-testsuite, N as in its version"
    )


def read(report: Path) -> dict[str, str]:
    """Outcomes by test name from regrtest's report."""
    found = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[case.get("name", "")] = kinds.pop() if kinds else "ok"
    return found
