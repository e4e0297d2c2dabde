"""From `-m` to a module: what can be written, and one line for everything that cannot."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modnet.errors import ModnetError, SystemRefused, UsageError
from modnet.loader import BUILT_IN, Options, Spec, available, canonical, load, parse
from modnet.module import Module

SHOUT = """\
import modnet
from dataclasses import dataclass

class Shout(modnet.Module):
    @dataclass(frozen=True)
    class Settings:
        end: modnet.Size = 0
        word: tuple[str, ...] = ()

    settings: Settings

    def outbound(self, flow, data):
        return bytes(data).upper()
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a file and gives back `sys.path` and `sys.modules` as they were."""
    path, modules = list(sys.path), set(sys.modules)

    def write(text: str, name: str = "shout.py") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("_modnet_file_", "pkg_of_test")):
            del sys.modules[name]


def refusal(text: str, directory: Path | None = None) -> str:
    with pytest.raises(ModnetError) as caught:
        load(parse(text, directory))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# --- parse ----------------------------------------------------------------------------------------


def test_everything_at_once() -> None:
    text = "throttle,rate=1MB,as=slow,settings=x/t.toml,on_error=reset,send_queue=64KiB,drain=2min,workers=2"
    assert parse(text, Path("/d")) == Spec(
        text=text,
        module="throttle",
        settings=(("rate", "1MB"),),
        settings_file="/d/x/t.toml",
        name="slow",
        options=Options(on_error="reset", send_queue=65536, drain=120.0, workers=2),
        directory="/d",
    )


def test_values_may_hold_equals_signs_commas_and_nothing() -> None:
    assert parse(r"m,a=b=c,d=x\,y,e=").settings == (("a", "b=c"), ("d", "x,y"), ("e", ""))


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        ("shout.py:Shout", "/d/shout.py:Shout"),
        ("shout.py", "/d/shout.py"),
        ("./x/../shout.py:Shout", "/d/shout.py:Shout"),
        ("/e/shout.py:Shout", "/e/shout.py:Shout"),
        ("pkg.mod:Class", "pkg.mod:Class"),
        ("name", "name"),
    ],
)
def test_files_become_absolute(text: str, absolute: str) -> None:
    assert parse(text, Path("/d")).module == absolute


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no module in ''"),
        (",a=b", "no module in ',a=b'"),
        ("m,a", "m: 'a' is not key=value"),
        ("m,=b", "m: '=b' is not key=value"),
        ("m,", "m: '' is not key=value"),
        ("m,as=a,as=b", "m: 'as' was given twice"),
        ("m,as=a/b", "the module name 'a/b' is not allowed"),
        ("m,as=", "a module's name cannot be empty"),
        ("m,drain=soon", "m: setting 'drain' must be a duration"),
        ("m,drain=25h", "m: drain must be between 0 and 24h"),
        ("m,send_queue=1", "m: send_queue must be between 4KiB and 1GiB"),
        ("m,send_queue=2GiB", "m: send_queue must be between 4KiB and 1GiB"),
        ("m,settings=~no-such-user/x", "'~no-such-user/x' cannot be the path of a file"),
        ("~no-such-user/m.py", "'~no-such-user/m.py' cannot be the path of a file"),
        ("m,workers=0", "m: workers must be between 1 and 1024"),
        ("m,on_error=ignore", "m: setting 'on_error' must be one of pass, reset"),
    ],
)
def test_what_cannot_be_meant(text: str, said: str) -> None:
    assert refusal(text).startswith(said)


def test_a_directory_that_has_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemRefused, match="the current directory cannot be used: No such file"):
        parse("forwarder")


@given(st.text())
def test_any_text_is_a_spec_or_a_one_line_error(text: str) -> None:
    try:
        spec = parse(text, Path("/d"))
    except UsageError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert Spec.from_json(spec.to_json()) == spec


# --- load -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_modules_have_names(name: str) -> None:
    extra = {"throttle": ",rate=1MB", "tap": ",file=/x", "filter": ",rules=/dev/null"}.get(name, "")
    module = load(parse(name + extra))
    assert (module.name, type(module).name) == (name, name)
    assert name in [found.name for found in available()]


def test_a_file_with_a_class_or_with_only_one_module(write: Write) -> None:
    file = write(SHOUT)
    for text in (f"{file}:Shout", str(file), "shout.py", "./shout.py:Shout"):
        module = load(parse(text, file.parent))
        assert (module.name, type(module).hooks()) == ("shout", {"outbound"})
    assert not (file.parent / "__pycache__").exists()


def test_the_same_file_gives_the_same_class_until_it_is_edited(write: Write) -> None:
    spec = parse(str(write(SHOUT)))
    before = load(spec)
    assert type(load(spec)) is type(before)
    write(SHOUT + "# edited\n")
    assert type(load(spec)) is not type(before)


def test_settings_name_and_options_reach_the_module(write: Write) -> None:
    file = write(SHOUT)
    write("end = 5\n", "s.toml")
    module = load(parse("shout.py,settings=s.toml,word=a,word=b,as=other,on_error=reset", file.parent))
    assert dataclasses.asdict(module.settings) == {"end": 5, "word": ("a", "b")}
    assert (module.name, module.on_error) == ("other", "reset")
    assert (type(module).name, type(module).on_error) == ("shout", "pass")


def test_a_class_of_a_package_beside_or_installed(write: Write) -> None:
    root = write(SHOUT, "pkg_of_test/mod.py").parents[1]
    write("", "pkg_of_test/__init__.py")
    assert load(parse("pkg_of_test.mod:Shout", root)).name == "shout"
    assert load(parse("modnet.modules.forwarder:Forwarder")).name == "forwarder"


def test_a_file_may_import_what_stands_beside_it(write: Write) -> None:
    write("WORD = b'x'\n", "pkg_of_test_helper.py")
    file = write("from pkg_of_test_helper import WORD\n" + SHOUT)
    assert load(parse(str(file))).name == "shout"


def test_a_spec_means_the_same_in_another_directory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(SHOUT)
    write("word = ['x']\n", "s.toml")
    monkeypatch.chdir(file.parent)
    sent = parse("shout.py,settings=s.toml").to_json()
    monkeypatch.chdir("/")
    assert load(Spec.from_json(sent)).settings.word == ("x",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fowarder", "no module named 'fowarder'; did you mean 'forwarder'?"),
        ("zzz", "no module named 'zzz' (there are: "),
        ("shout", "no module named 'shout'; for the file here write shout.py"),
        ("shout.py:Shuot", "shout.py:Shuot: there is no 'Shuot'; did you mean 'Shout'?"),
        ("shout.py:X", "shout.py:X: there is no 'X' (it has: Shout)"),
        ("shout.py:modnet", "shout.py:modnet is no module: it is of type module"),
        ("shout.py:dataclass", "shout.py:dataclass is no module: it is of type function"),
        ("none.py:X", "no such file: "),
        ("none/none.py", "no such file: "),
        ("nope_nope.mod:X", "no Python module 'nope_nope', neither installed nor in "),
        ("modnet.nope:X", "no Python module 'modnet.nope', neither installed nor in "),
        ("modnet.modules.tap:Tapp", "modnet.modules.tap:Tapp: there is no 'Tapp'; did you mean 'Tap'?"),
        (":X", "':X' is no module: write NAME, file.py:Class or package.module:Class"),
        ("a b:X", "'a b:X' is no module"),
        ("json:", "'json:' is no module"),
        ("throttle", "throttle needs the setting 'rate': add rate=1MB"),
        ("throttle,rat=1", "throttle has no setting 'rat'; did you mean 'rate'?"),
        ("throttle,rate=0", "throttle: rate must be between 1 byte"),
        ("throttle,rate=1,direction=outbond", "throttle: setting 'direction' must be one of "),
        ("tap", "tap needs the setting 'file': add file=FILE"),
        ("tap,file=x,first=0", "tap: first must be at least 1 byte"),
        ("forwarder,x=1", "forwarder has no setting 'x' (it has none)"),
    ],
)
def test_mistakes(text: str, said: str, write: Write) -> None:
    assert refusal(text, write(SHOUT).parent).startswith(said)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(:\n", "{file}:1: SyntaxError: invalid syntax"),
        ("x = 1\n  y = 2\n", "{file}:2: IndentationError: unexpected indent"),
        ("a\0b", "{file}:1: SyntaxError: source code string cannot contain null bytes"),
        (
            "\nimport nope_nope\n",
            "{file}:2: ModuleNotFoundError: No module named 'nope_nope'; install it beside modnet",
        ),
        ("import modnet\n\n1 / 0\n", "{file}:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('no')\n", "{file}:2: SystemExit: no"),
        ("raise ValueError('a\\nb')\n", "{file}:1: ValueError: a b"),
        ("import json\njson.loads('x')\n", "{file}:2: JSONDecodeError: Expecting value"),
        ("", "shout.py holds no module: define a class derived from modnet.Module"),
        ("from modnet.modules.tap import Tap\n", "shout.py holds no module"),
        (
            SHOUT + "class B(Shout): pass\n",
            "shout.py holds several modules: write shout.py:Shout or shout.py:B",
        ),
        (SHOUT.replace("def outbound", "async def outbound"), "shout.py: outbound must be a plain function"),
        (SHOUT.replace("flow, data", "data"), "shout.py: outbound has a wrong signature"),
        (SHOUT.replace("outbound", "outbond"), "shout.py: outbond is no hook; did you mean 'outbound'?"),
        (SHOUT.replace("frozen=True", "frozen=False"), "shout.py: Settings must not change"),
        (SHOUT.replace("modnet.Size", "bytes"), "shout.py: setting 'end' has the type bytes"),
        (SHOUT + "    def __init__(self): pass\n", "shout.py: __init__ must take the settings"),
        (SHOUT + "    def __init__(self, s): raise ValueError('not today')\n", "shout.py: not today"),
    ],
)
def test_files_that_cannot_be_loaded(source: str, said: str, write: Write) -> None:
    file = write(source)
    modules = set(sys.modules)
    assert refusal(str(file)).startswith(said.format(file=file))
    if "/" in said.format(file=file):
        assert not [name for name in set(sys.modules) - modules if name.startswith("_modnet_file_")]


def test_a_file_that_cannot_be_read_is_the_systems_refusal(tmp_path: Path) -> None:
    (tmp_path / "dir.py").mkdir()
    with pytest.raises(SystemRefused, match=r"cannot read .*dir\.py: Is a directory"):
        load(parse("dir.py", tmp_path))


def test_an_error_inside_a_package_is_told_where_it_is(write: Write) -> None:
    file = write("import nope_nope\n", "pkg_of_test/__init__.py")
    said = f"{file}:1: ModuleNotFoundError: No module named 'nope_nope'; install it beside modnet"
    assert refusal("pkg_of_test:X", file.parents[1]) == said


def test_ctrl_c_while_importing_is_no_mistake_of_the_file(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(parse(str(write("raise KeyboardInterrupt\n"))))


# --- entry points ---------------------------------------------------------------------------------


def entry_points(root: Path, *dists: tuple[str, str]) -> None:
    """Installed packages, as far as importlib.metadata looks: (name, entry)."""
    for name, entry in dists:
        info = root / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[modnet.modules]\n{entry}\n")


def test_installed_packages_bring_modules(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(SHOUT, "pkg_of_test.py").parent
    entry_points(
        root, ("dist-one", "loud = pkg_of_test:Shout"), ("dist-two", "forwarder = pkg_of_test:Shout")
    )
    monkeypatch.syspath_prepend(root)
    assert type(load(parse("loud"))).__name__ == "Shout"
    assert ("loud", "pkg_of_test:Shout", "dist-one") in [dataclasses.astuple(found) for found in available()]
    assert type(load(parse("forwarder"))).__name__ == "Forwarder"
    assert refusal("luod") == "no module named 'luod'; did you mean 'loud'?"


def test_installed_packages_that_are_broken_or_quarrel(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(SHOUT, "pkg_of_test.py").parent
    entry_points(
        root,
        ("dist-one", "loud = pkg_of_test:Shout\nbroken = pkg_of_test:Nope\nno = pkg_of_test"),
        ("dist-two", "loud = pkg_of_test:Other"),
    )
    monkeypatch.syspath_prepend(root)
    assert refusal("loud") == (
        "'loud' is brought by several packages (dist-one, dist-two): "
        "write pkg_of_test:Other or pkg_of_test:Shout"
    )
    assert refusal("broken").startswith("broken: there is no 'Nope'")
    assert refusal("no") == "no: the package dist-one names 'pkg_of_test', which is not package.module:Class"


# --- canonical ------------------------------------------------------------------------------------


def same(one: str, other: str, directory: Path) -> bool:
    first, second = (parse(text, directory) for text in (one, other))
    return canonical(first, load(first)) == canonical(second, load(second))


def test_two_ways_to_ask_for_the_same_are_the_same(write: Write) -> None:
    here = write(SHOUT).parent
    (here / "link.py").symlink_to("shout.py")
    assert same(
        "throttle,rate=1MB", "modnet.modules.throttle:Throttle,rate=8Mbit/s,burst=64KiB,drain=10s", here
    )
    assert same("shout.py", f"{here}/./shout.py:Shout,end=0", here)
    assert same("shout.py", "link.py", here)
    assert same("forwarder,as=a", "forwarder,as=b", here)


@pytest.mark.parametrize(
    "other",
    [
        "shout.py,end=1",
        "shout.py,on_error=reset",
        "shout.py,drain=1",
        "shout.py,workers=1",
        "copy.py",
        "forwarder",
    ],
)
def test_what_differs_is_another(other: str, write: Write) -> None:
    here = write(SHOUT).parent
    write(SHOUT, "copy.py")
    assert not same("shout.py", other, here)


def test_an_edited_file_is_another(write: Write) -> None:
    spec = parse(str(write(SHOUT)))
    before = canonical(spec, load(spec))
    write(SHOUT.replace("upper", "lower"))
    assert canonical(spec, load(spec)) != before
    write(SHOUT)
    assert canonical(spec, load(spec)) == before
    assert isinstance(json.loads(before), dict)


def test_a_module_given_in_code_needs_no_loader() -> None:
    class Quiet(Module):
        pass

    assert Quiet().settings == Module.Settings()
