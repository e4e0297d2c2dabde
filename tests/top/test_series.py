"""Series: what is followed of a flow, and which flow that is."""

import pytest
from modnet.errors import UsageError
from modnet.top.series import QUANTITIES, Series, chosen

from tests.top.test_view import row


def test_points_have_every_quantity_in_its_unit() -> None:
    series = Series()
    series.add(0.0, row())
    series.add(0.5, row(cwnd=10, srtt_us=1500, in_flight=7, unsent=9, bandwidth=1e6, rate_outbound=5.0))
    assert series.values("srtt") == [None, 1.5]
    assert [series.points[1].values[name] for name in QUANTITIES] == [10, 1.5, 7, 9, 1e6, 5.0]


def test_only_the_newest_are_kept_where_that_is_asked() -> None:
    series = Series(most=2)
    for at in range(4):
        series.add(float(at), row(cwnd=at))
    assert series.values("cwnd") == [2, 3]


def test_lines_for_a_file() -> None:
    series = Series()
    series.add(0.25, row(cwnd=3))
    heading, line = series.lines()
    assert heading[:3] == ["seconds", "cwnd_packets", "srtt_ms"] and heading[-1] == "rate_bytes_per_s"
    assert line == ["0.250", 3, "", "", "", "", ""]


@pytest.mark.parametrize(
    ("what", "flow"),
    [
        ("10.0.0.1", 2),
        ("10.0.0.1:5000", 1),
        ("5001", 2),
        ("80", 2),
        ("m/1", 1),
        ("n/1", None),
        ("::1", 3),
        ("10.0.0.9", None),
    ],
)
def test_the_flow_that_is_meant(what: str, flow: int | None) -> None:
    rows = [
        row(flow=1, bytes_outbound=5),
        row(flow=2, peer="10.0.0.1:5001", bytes_outbound=50),
        row(flow=3, peer="[::1]:6000", local="[::1]:443"),
    ]
    found = chosen(rows, what)
    assert (found.flow if found else None) == flow


def test_a_flow_without_a_number_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="MODULE/NUMBER"):
        chosen([], "m/x")
