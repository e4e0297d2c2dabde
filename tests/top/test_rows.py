"""Rows: what two looks at the same flows make of their counters and of TCP's state."""

from typing import Any

from modnet.top.rows import Board


def flow(number: int = 1, out: int = 0, into: int = 0, **more: Any) -> dict[str, Any]:
    """What a module publishes of one flow."""
    return {
        "id": number,
        "application": 77,
        "chain": ["a", "b"],
        "position": 0,
        "peer": "10.0.0.1:5000",
        "local": "10.0.0.2:80",
        "opened_at": 1.0,
        "bytes_outbound": out,
        "bytes_inbound": into,
        "queued_outbound": 0,
        "queued_inbound": 0,
        "held": 0,
        "bytes_yanked": 0,
    } | more


TCP = {
    "cwnd": 10,
    "srtt_us": 5000,
    "min_rtt_us": 4000,
    "mss": 1448,
    "snd_una": 2**32 - 1000,
    "snd_nxt": 448,
    "write_seq": 10_448,
    "packets_out": 1,
    "bytes_acked": 0,
    "delivered": 0,
    "delivery_rate": 0,
    "app_limited": False,
    "retransmits": 3,
    "updated_ns": 1,
    "source": "bpf",
    "packets": [{"arrival_ns": 0, "sent_ns": 0, "acked_bytes": 0}] * 2,
}


def test_the_first_look_has_no_rate_and_the_second_has() -> None:
    board = Board()
    [first] = board.look(10.0, [("m", flow(out=1000, into=10))])
    assert (first.bytes_outbound, first.rate_outbound, first.rate_inbound) == (1000, None, None)
    [second] = board.look(12.0, [("m", flow(out=5000, into=30))])
    assert (second.rate_outbound, second.rate_inbound) == (2000.0, 10.0)


def test_flows_of_one_number_in_two_modules_are_two() -> None:
    board = Board()
    board.look(0.0, [("m", flow(out=100)), ("n", flow(out=900))])
    rows = board.look(1.0, [("m", flow(out=200)), ("n", flow(out=1900))])
    assert [row.rate_outbound for row in rows] == [100.0, 1000.0]


def test_a_flow_that_was_away_begins_anew() -> None:
    board = Board()
    board.look(0.0, [("m", flow(out=100))])
    board.look(1.0, [])
    assert board.look(2.0, [("m", flow(out=300))])[0].rate_outbound is None


def test_tcp_s_state_over_the_wrap_of_sequence_numbers() -> None:
    [row] = Board().look(0.0, [("m", flow(tcp=TCP, queued_outbound=500, held=70, bytes_yanked=9))])
    assert (row.cwnd, row.srtt_us, row.retransmits, row.source) == (10, 5000, 3, "bpf")
    assert row.in_flight == 1448
    assert row.unsent == 10_000 + 500 + 70 and row.yanked == 9


def test_without_tcp_s_state_nothing_is_made_up() -> None:
    [row] = Board().look(0.0, [("m", flow(queued_outbound=500))])
    assert (row.cwnd, row.unsent, row.bandwidth, row.source) == (None, None, None, None)
    assert row.queued == 500
