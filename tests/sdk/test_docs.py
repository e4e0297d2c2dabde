"""Docstring examples and `docs/writing-a-module.md`: what is shown, runs."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import modnet
import pytest
from modnet._check import check_module
from modnet._import import import_file
from modnet._spec import RESERVED
from modnet.loader import parse
from modnet.module import HOOKS
from modnet.testing import PlayedFlow

ROOT = Path(__file__).parents[2]
PACKAGE = Path(modnet.__file__).parent
PAGE = ROOT / "docs/writing-a-module.md"
WITH_EXAMPLES = [
    path
    for path in sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("modules/*.py"), *PACKAGE.glob("estimate/*.py")])
    if re.search(r"^ *>>> ", path.read_text(), re.MULTILINE)
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.name)
def test_docstring_examples(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_pages_code_loads_and_its_tests_pass(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text("\n\n".join(blocks("python")))
    code = import_file(page)
    for name in ("Shout", "FirstLine", "Pad", "Careful", "Tidy"):
        check_module(getattr(code, name), name, RESERVED)
    tests = [value for name, value in vars(code).items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        test()


def test_the_pages_commands_can_be_parsed() -> None:
    specs = re.findall(r"modnet run -m (\S+)", "\n".join(blocks("sh")))
    assert len(specs) == 3
    for spec in specs:
        parse(spec)


def test_the_page_names_every_hook_member_and_key() -> None:
    text = PAGE.read_text()
    first_cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    named = {word for cell in first_cells for word in re.findall(r"`(\w+)", cell)}
    members = {name for name in vars(PlayedFlow) if not name.startswith("_")}
    assert named >= set(HOOKS) | members | RESERVED
