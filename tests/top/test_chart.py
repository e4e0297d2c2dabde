"""Chart: dots where the values are."""

from modnet.top.chart import chart


def test_a_rise_goes_from_the_lower_left_to_the_upper_right() -> None:
    assert chart([0, 1, 2, 3], 2, 1) == ["⣠⠞"]


def test_the_newest_stand_on_the_right_and_older_ones_go() -> None:
    assert chart([3.0], 3, 1) == ["  ⠈"]
    assert chart([9.0, 3.0, 3.0], 1, 1) == ["⠉"]


def test_a_step_is_a_line() -> None:
    assert chart([0, 3], 1, 1) == ["⣸"]


def test_gaps_and_nothing() -> None:
    assert chart([3, None, None, 3], 2, 1) == ["⠁⠈"]
    assert chart([], 2, 2) == ["  ", "  "]
    assert chart([0, 0], 1, 2) == [" ", "⣀"]
