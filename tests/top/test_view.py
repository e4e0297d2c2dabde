"""View: words, orders and filters of lines."""

from typing import Any

import pytest
from modnet.errors import UsageError
from modnet.top import view
from modnet.top.rows import Row


def row(**known: Any) -> Row:
    """A row with only what matters."""
    plain: dict[str, Any] = {
        "module": "m",
        "flow": 1,
        "application": 7,
        "peer": "10.0.0.1:5000",
        "local": "10.0.0.2:80",
        "chain": ("m",),
        "bytes_outbound": 0,
        "bytes_inbound": 0,
    }
    return Row(**(plain | known))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (999.6, "1.0K"),
        (1000, "1.0K"),
        (99_940, "99.9K"),
        (99_950, "100K"),
        (999_499, "999K"),
        (999_500, "1.0M"),
        (1_234_567, "1.2M"),
        (5e15, "5000T"),
    ],
)
def test_bytes_in_words(count: float | None, text: str) -> None:
    assert view.bytes_in_words(count) == text


def test_a_line_has_a_cell_for_each_column() -> None:
    cells = view.cells(row(rate_outbound=1500.0, srtt_us=1234, bandwidth=2e6, retransmits=0, source="bpf"))
    line = dict(zip(view.COLUMNS, cells, strict=True))
    assert line["PEER"] == "10.0.0.1:5000" and line["PORT"] == "80"
    assert (line["RATE"], line["SRTT"], line["BANDWIDTH"]) == ("1.5K/s", "1.2ms", "2.0M/s")
    assert (line["RETR"], line["CWND"], line["SOURCE"]) == ("0", "-", "bpf")


def test_columns_stand_under_their_heads() -> None:
    rows = [row(cwnd=10, source="bpf"), row(module="longer", peer="[::1]:5", rate_outbound=1500.0)]
    heads, lines = view.laid_out([view.cells(one) for one in rows], 200)
    title = "".join(heads)
    assert title.split() == view.COLUMNS and {len(line) for line in lines} == {len(title)}
    assert lines[0].startswith("m       10.0.0.1:5000") and lines[1].startswith("longer  [::1]:5")
    end = title.index("RATE") + len("RATE")
    assert lines[1][:end].endswith("1.5K/s") and lines[0][:end].endswith("     -")


def test_columns_give_way_until_the_rest_has_room() -> None:
    lines = [view.cells(row(chain=("one", "two", "three")))]
    whole = len("".join(view.laid_out(lines, 200)[0]))
    assert [head.strip() for head in view.laid_out(lines, whole)[0]] == view.COLUMNS
    fewer = [head.strip() for head in view.laid_out(lines, whole - 1)[0]]
    assert fewer == [title for title in view.COLUMNS if title != "CHAIN"]
    least = [head.strip() for head in view.laid_out(lines, 1)[0]]
    assert least == ["MODULE", "PEER", "OUT", "RATE", "CWND", "SRTT", "UNSENT", "BANDWIDTH"]
    assert [head.strip() for head in view.laid_out([], 1)[0]] == least


@pytest.mark.parametrize("order", view.ORDERS)
def test_every_order_takes_rows_of_which_nothing_is_known(order: str) -> None:
    rows = [row(flow=2), row(flow=1, rate_outbound=5.0, cwnd=3, srtt_us=2, unsent=1, bandwidth=1.0)]
    assert sorted(view.ordered(rows, order), key=lambda r: r.flow) == [rows[1], rows[0]]


def test_numbers_fall_and_names_rise() -> None:
    rows = [row(flow=1, module="b", rate_outbound=1.0), row(flow=2, module="a", rate_outbound=None)]
    rows.append(row(flow=3, module="c", rate_outbound=9.0))
    assert [r.flow for r in view.ordered(rows, "rate")] == [3, 1, 2]
    assert [r.flow for r in view.ordered(rows, "rate", reverse=True)] == [2, 1, 3]
    assert [r.flow for r in view.ordered(rows, "module")] == [2, 1, 3]


def test_ports_are_numbers() -> None:
    rows = [row(flow=1, local="[::1]:443"), row(flow=2, local="10.0.0.2:80"), row(flow=3, local="-")]
    assert [r.flow for r in view.ordered(rows, "port")] == [3, 2, 1]


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({}, True),
        ({"module": "m"}, True),
        ({"module": "n"}, False),
        ({"peer": "fe80::1"}, True),
        ({"peer": "[fe80::1]:5000"}, True),
        ({"peer": "fe80::2"}, False),
        ({"port": 80}, True),
        ({"port": 8}, False),
        ({"module": "m", "port": 81}, False),
    ],
)
def test_filters(wanted: dict[str, Any], passes: bool) -> None:
    one = row(peer="[fe80::1]:5000")
    assert view.Filter(**wanted).of([one]) == ([one] if passes else [])


def test_an_unknown_order_is_named() -> None:
    with pytest.raises(UsageError, match=r"no column 'speed'.*bandwidth"):
        view.known_order("speed")
