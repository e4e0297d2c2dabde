"""What a class must be to be a module: each mistake is found at load time and told in one line."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modnet
import pytest
from modnet._check import NAME_MAX, check_module, check_name
from modnet.errors import UsageError
from modnet.module import HOOKS, Module, kebab_case


def refusal(cls: Any, reserved: frozenset[str] = frozenset()) -> str:
    with pytest.raises(UsageError, match=r"^m\.py:M") as caught:
        check_module(cls, "m.py:M", reserved)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("m.py:M").lstrip(": ")


def module_with(**members: Any) -> type[Module]:
    return type("M", (Module,), members)


def test_hooks_are_those_that_are_overridden_also_by_a_parent_or_mixin() -> None:
    class Parent(Module):
        def opened(self, flow: modnet.Flow) -> None: ...

    class Mixin:
        def closed(self, flow: modnet.Flow) -> None: ...

    class Child(Mixin, Parent):
        def outbound(self, flow: modnet.Flow, data: memoryview) -> memoryview:
            return data

    assert Module.hooks() == frozenset()
    assert Child.hooks() == {"opened", "closed", "outbound"}
    assert check_module(Child, "m") is Child


def test_every_hook_of_the_base_class_is_in_the_table() -> None:
    public = {name for name in vars(Module) if not name.startswith("_") and callable(getattr(Module, name))}
    assert public - {"start", "stop", "reload", "every", "counters", "hooks", "Settings"} == set(HOOKS)


@pytest.mark.parametrize(
    ("hook", "function", "said"),
    [
        (
            "outbound",
            lambda self, flow: b"",
            "write 'def outbound(self, flow, data)', not 'def outbound(self, flow)'",
        ),
        ("outbound", lambda flow, data: b"", "not 'def outbound(flow, data)'"),
        ("inbound", lambda self, flow, data, more: b"", "write 'def inbound(self, flow, data)'"),
        ("opened", lambda self: None, "write 'def opened(self, flow)', not 'def opened(self)'"),
        ("closed", lambda self, flow, *, why: None, "write 'def closed(self, flow)'"),
        ("outbound", b"x", "must be a function"),
    ],
)
def test_a_wrong_signature_is_told_with_the_right_one(hook: str, function: Any, said: str) -> None:
    assert said in refusal(module_with(**{hook: function}))


@pytest.mark.parametrize(
    "function",
    [
        lambda self, flow, data: data,
        lambda self, flow, data, more=1: data,
        lambda self, *arguments: b"",
        lambda self, flow, data, **more: data,
        staticmethod(lambda flow, data: data),
        classmethod(lambda cls, flow, data: data),
        functools.partialmethod(lambda self, more, flow, data: data, 1),
    ],
)
def test_whatever_can_be_called_with_flow_and_data_is_a_hook(function: Any) -> None:
    assert check_module(module_with(outbound=function), "m").hooks() == {"outbound"}


def test_async_hooks_are_refused_with_the_reason() -> None:
    async def hook(self: Any, flow: Any, data: Any) -> bytes:
        return b""

    async def stream(self: Any, flow: Any, data: Any) -> Any:
        yield b""

    @functools.wraps(hook)
    def wrapped(*arguments: Any) -> Any:
        return hook(*arguments)

    for function in (hook, stream, wrapped):
        said = refusal(module_with(outbound=function))
        assert said.startswith(
            "outbound must be a plain function, not 'async def': one worker thread owns the flow"
        )


def test_generators_are_refused() -> None:
    def hook(self: Any, flow: Any, data: Any) -> Any:
        yield data

    assert "must return its bytes, not yield them" in refusal(module_with(outbound=hook))


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("outbond", "outbound"),
        ("on_outbound", "outbound"),
        ("onInbound", "inbound"),
        ("handle_inbound", "inbound"),
        ("out_bound", "outbound"),
        ("Outbound", "outbound"),
        ("open", "opened"),
        ("on_close", "closed"),
        ("outboundend", "outbound_end"),
        ("inbound_ended", "inbound_end"),
    ],
)
def test_a_misspelt_hook_is_told(misspelt: str, meant: str) -> None:
    function: Callable[..., Any] = (
        (lambda self, flow: None) if len(HOOKS[meant]) == 1 else lambda self, flow, data: data
    )
    said = refusal(module_with(**{misspelt: function}))
    assert said.startswith(f"{misspelt} is no hook; did you mean {meant!r}? (begin its name with '_' if ")


@pytest.mark.parametrize(
    "members",
    [
        {"_outbond": lambda self, flow, data: data},
        {"close": lambda self: None},
        {"bound": 1},
        {"on_outbound": lambda self, flow, data: data, "outbound": lambda self, flow, data: data},
        {"compress": lambda self, flow, data: data},
    ],
)
def test_a_method_of_ones_own_is_left_alone(members: dict[str, Any]) -> None:
    check_module(module_with(**members), "m")


def test_what_is_no_module_is_told() -> None:
    class Abstract(Module, abc.ABC):
        @abc.abstractmethod
        def transform(self, data: bytes) -> bytes: ...

    assert refusal(int) == "is no module: it is the class int; derive it from modnet.Module"
    assert refusal(3) == "is no module: it is of type int; derive it from modnet.Module"
    assert refusal(Module()) == "is no module: it is of type Module; derive it from modnet.Module"
    assert "modnet.Module itself" in refusal(Module)
    assert refusal(Abstract) == "is abstract: define transform, or name a class that does"


def test_settings_on_error_and_names_are_checked() -> None:
    @dataclass(frozen=True)
    class Settings:
        drain: int = 0

    assert "'drain' has a reserved name" in refusal(module_with(Settings=Settings), frozenset({"drain"}))
    assert refusal(module_with(on_error="ignore")) == "on_error must be 'pass' or 'reset', not 'ignore'"
    assert "must be a dataclass" in refusal(module_with(Settings=int))
    with pytest.raises(UsageError, match="'a/b' is not allowed"):
        check_module(module_with(name="a/b"), "m")


@pytest.mark.parametrize("name", ["a", "forwarder", "Shout2", "a.b-c_d", "x" * NAME_MAX])
def test_names_that_the_registry_takes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "-m", ".hidden", "a b", "a\n", "ä", "a\0b", "_x", "x" * (NAME_MAX + 1)],
)
def test_names_that_it_does_not(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        check_name(name)


def test_the_limit_is_that_of_the_boundary() -> None:
    source = (Path(__file__).parents[2] / "crates/abi/src/name.rs").read_text()
    assert f"NAME_BYTES: usize = {NAME_MAX + 1};" in source


def test_a_class_has_its_name_in_kebab_case_unless_it_says_so() -> None:
    class RateLimit(Module):
        pass

    class Named(RateLimit):
        name = "other"

    class Derived(Named):
        pass

    assert [cls.name for cls in (RateLimit, Named, Derived)] == ["rate-limit", "other", "derived"]
    assert kebab_case("_Private__X2Y") == "private-x2-y"
