"""Settings: each type hint accepts what its documentation says, and every mistake is one line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modnet.errors import SystemRefused, UsageError
from modnet.settings import Duration, Rate, Size, build, check_class, describe, to_plain

HERE = Path("/somewhere")


def make(hint: Any, *default: Any) -> type[Any]:
    """A settings class with one field `value`."""
    return dataclasses.make_dataclass(
        "Settings", [("value", hint, *(field(default=d) for d in default))], frozen=True
    )


def value_of(hint: Any, *texts: object) -> Any:
    return build(make(hint), {"value": list(texts)}, owner="m", base=HERE).value


def refusal(cls: type[Any], given: dict[str, list[object]], **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        build(cls, given, owner="m", base=HERE, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "12", 12),
        (int, "-3", -3),
        (int, "0x1f", 31),
        (int, "1_000", 1000),
        (float, "0.5", 0.5),
        (float, "2e3", 2000.0),
        (float, "3", 3.0),
        (Path, "~/x", Path.home() / "x"),
        *[(bool, word, True) for word in ("true", "yes", "on", "1", "TRUE")],
        *[(bool, word, False) for word in ("false", "no", "off", "0", "Off")],
        (str, "a=b", "a=b"),
        (str, "", ""),
        (Path, "x/y", HERE / "x/y"),
        (Path, "/x", Path("/x")),
        (Size, "4096", 4096),
        (Size, "64KiB", 65536),
        (Size, "64kib", 65536),
        (Size, "1MB", 1_000_000),
        (Size, "1.5k", 1500),
        (Size, "2Gi", 2 << 30),
        (Size, "9007199254740.993kB", 9007199254740993),
        (Size, "1 TB", 10**12),
        (Rate, "1MB", 1_000_000),
        (Rate, "1MB/s", 1_000_000),
        (Rate, "64KiB/s", 65536),
        (Rate, "500/s", 500),
        (Rate, "8Mbit/s", 1_000_000),
        (Rate, "8Mbps", 1_000_000),
        (Duration, "1.5", 1.5),
        (Duration, "250ms", 0.25),
        (Duration, "2s", 2.0),
        (Duration, "5min", 300.0),
        (Duration, "1h", 3600.0),
        (Literal["a", "b"], "b", "b"),
        (int | None, "none", None),
        (int | None, "3", 3),
        (Size | None, "1k", 1000),
        (tuple[str, ...], "a", ("a",)),
        (tuple[Size, ...], "1k", (1000,)),
    ],
)
def test_text_becomes_what_the_type_hint_says(hint: Any, text: str, value: Any) -> None:
    made = value_of(hint, text)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("hint", "text", "wanted"),
    [
        (int, "x", "a whole number"),
        (int, "1.5", "a whole number"),
        (int, "010", "a whole number"),
        (int, "9" * 5000, "a whole number"),
        (float, "x", "a number"),
        (float, "nan", "a number"),
        (float, "1e999", "a number"),
        (Path, "~no-such-user/x", "a path"),
        (Path, "a\0b", "a path"),
        (Size, "9" * 5000, "a whole number of bytes"),
        (Duration, "9" * 400, "a finite number"),
        (bool, "maybe", "true or false"),
        (Path, "", "a path"),
        (Size, "1.0001k", "a whole number of bytes"),
        (Size, "-1", "a size such as"),
        (Size, "1MB/s", "a size such as"),
        (Size, "", "a size such as"),
        (Rate, "fast", "bytes per second such as"),
        (Rate, "1bit/s", "a whole number of bytes per second"),
        (Duration, "1d", "a duration such as"),
        (Duration, "-1", "a duration such as"),
        (Literal["outbound", "inbound"], "outbond", "one of outbound, inbound; did you mean 'outbound'?"),
        (int | None, "nope", "a whole number"),
        (tuple[int, ...], "x", "a whole number"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_wanted(hint: Any, text: str, wanted: str) -> None:
    message = refusal(make(hint), {"value": [text]})
    assert message.startswith("m: setting 'value' must be ")
    assert wanted in message
    assert repr(text) in message


@given(st.integers(min_value=0, max_value=2**70))
def test_sizes_are_exact_however_large(number: int) -> None:
    assert value_of(Size, f"{number}KiB") == number * 1024


@given(st.text())
def test_any_text_is_a_value_or_a_one_line_error(text: str) -> None:
    for hint in (int, float, bool, Size, Rate, Duration, Literal["a"], int | None):
        try:
            value_of(hint, text)
        except UsageError as error:
            assert len(str(error).splitlines()) == 1


def test_a_tuple_takes_the_key_several_times_and_others_do_not() -> None:
    assert value_of(tuple[int, ...], "1", "2") == (1, 2)
    assert "must be one value, not '1', '2'" in refusal(make(int), {"value": ["1", "2"]})


def test_unknown_keys_get_the_right_one_suggested_or_all_named() -> None:
    assert refusal(make(int), {"valeu": ["1"]}) == "m has no setting 'valeu'; did you mean 'value'?"
    assert refusal(make(int), {"zzz": ["1"]}) == "m has no setting 'zzz' (it has: value)"
    empty = dataclasses.make_dataclass("Settings", [], frozen=True)
    assert refusal(empty, {"x": ["1"]}) == "m has no setting 'x' (it has none)"


@pytest.mark.parametrize(
    ("hint", "example"),
    [
        (int, "1"),
        (Rate, "1MB"),
        (Path, "FILE"),
        (str, "TEXT"),
        (Literal["a", "b"], "a"),
        (Size | None, "64KiB"),
    ],
)
def test_a_missing_value_says_what_to_add(hint: Any, example: str) -> None:
    assert refusal(make(hint), {}) == f"m needs the setting 'value': add value={example}"


def test_post_init_may_refuse_in_its_own_words() -> None:
    @dataclass(frozen=True)
    class Settings:
        low: int = 0
        high: int = 1

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low must not\nexceed high")

    assert refusal(Settings, {"low": ["2"]}) == "m: low must not exceed high"


def test_a_toml_file_and_the_command_line_together(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Settings:
        file: Path
        rate: Rate
        burst: Size = 1
        words: tuple[str, ...] = ()
        on: bool = False
        part: float = 0.0

    toml = tmp_path / "m.toml"
    toml.write_text('file = "x"\nrate = "1MB"\nburst = 7\nwords = ["a", "b"]\non = true\npart = 1\n')
    made = build(Settings, {"rate": ["2MB"]}, owner="m", base=HERE, toml=toml)
    assert made == Settings(tmp_path / "x", 2_000_000, 7, ("a", "b"), True, 1.0)


@pytest.mark.parametrize(
    ("hint", "line"),
    [
        (int, "value = true"),
        (int, "value = 1.5"),
        (float, "value = nan"),
        (int, "value = [1, 2]"),
        (Size, "value = 1.5"),
        (str, "value = 1"),
        (bool, "value = 1"),
        (Path, "value = 1"),
        (Literal["a"], "value = 1"),
        (tuple[str, ...], "value = [1]"),
        (int, "[value]"),
    ],
)
def test_toml_of_another_type_is_refused_with_its_file(hint: Any, line: str, tmp_path: Path) -> None:
    toml = tmp_path / "m.toml"
    toml.write_text(line + "\n")
    assert refusal(make(hint), {}, toml=toml).startswith(f"{toml}: m: setting 'value' must be ")


def test_toml_files_that_cannot_be_used(tmp_path: Path) -> None:
    toml = tmp_path / "m.toml"
    assert refusal(make(int), {}, toml=toml) == f"no settings file {toml}"
    toml.write_text("value = \n")
    assert refusal(make(int), {}, toml=toml).startswith(f"{toml} is not TOML: ")
    toml.write_bytes(b"\xff")
    assert refusal(make(int), {}, toml=toml).startswith(f"{toml} is not TOML: ")
    toml.write_text("valeu = 1\n")
    assert refusal(make(int), {}, toml=toml) == f"{toml}: m has no setting 'valeu'; did you mean 'value'?"
    with pytest.raises(SystemRefused, match="Is a directory"):
        build(make(int), {}, owner="m", toml=tmp_path)


def test_a_default_path_counts_from_the_same_directory() -> None:
    assert build(make(Path, Path("out")), {}, owner="m", base=HERE).value == HERE / "out"


def test_a_class_that_cannot_hold_settings_is_refused() -> None:
    @dataclass
    class Thawed:
        value: int = 0

    @dataclass(frozen=True)
    class Unresolved:
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821

    for cls, said in [
        (int, "must be a dataclass"),
        (Thawed, "frozen=True"),
        (make(dict[str, int]), "setting 'value' has the type dict[str, int]; use int"),
        (make(bytes), "setting 'value' has the type bytes; use int"),
        (make(int | str), "has the type"),
        (make(tuple[int, int]), "has the type"),
        (make(Literal[1]), "has the type"),
        (Unresolved, "cannot be evaluated"),
    ]:
        with pytest.raises(UsageError, match=r"^m: ") as caught:
            check_class(cls, "m")
        assert said in str(caught.value)


def test_settings_are_described_for_people() -> None:
    @dataclass(frozen=True)
    class Settings:
        rate: Rate = field(metadata={"help": "bytes per second"})
        way: Literal["a", "b"] = "a"
        first: Size | None = None
        words: tuple[str, ...] = ("x", "y")

    told = [(info.name, info.type, info.default, info.help) for info in describe(Settings)]
    assert told == [
        ("rate", "rate", None, "bytes per second"),
        ("way", "a | b", "a", ""),
        ("first", "size | none", "none", ""),
        ("words", "text, several times", "x,y", ""),
    ]


def test_equal_settings_have_one_plain_form() -> None:
    cls = make(Rate)
    one, other = (build(cls, {"value": [text]}, owner="m") for text in ("1MB", "8Mbit/s"))
    assert to_plain(one) == to_plain(other) == {"value": 1_000_000}
    assert to_plain(make(tuple[Path, ...])((Path("/a"),))) == {"value": ["/a"]}
