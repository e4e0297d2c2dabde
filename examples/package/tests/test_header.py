"""The module alone, with no sockets: `python -m pytest` here."""

import pytest
from modnet.testing import check_chunking, play
from modnet_header import Header

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MARKED = b"HTTP/1.1 200 OK\r\nX-Served-Through: modnet\r\nContent-Length: 2\r\n\r\nok"


def test_the_header_follows_the_status_line_and_the_rest_is_native() -> None:
    play(
        Header(),
        [
            ("inbound", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
            ("outbound", RESPONSE, MARKED),
            ("forward", "outbound"),
            ("outbound", RESPONSE, RESPONSE),
            ("outbound_end",),
            ("closed",),
        ],
    )


@pytest.mark.parametrize(
    "other", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n", b"HTTP/1.1 200", b"H", b"", b"HTTP/1." * 2000]
)
def test_what_is_no_response_passes_untouched(other: bytes) -> None:
    assert check_chunking(Header, other, tries=20) == other


def test_the_cuts_do_not_matter() -> None:
    assert check_chunking(Header, RESPONSE) == MARKED


@pytest.mark.parametrize("settings", [{"name": "a b"}, {"name": ""}, {"value": "a\r\nb"}, {"value": "é"}])
def test_a_header_that_would_break_the_response_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Header.Settings(**settings)
