"""docs/modules.md is made of the modules' own docstrings and settings.

Rules: what a user has to know of a module stands at the top of its file, nowhere else. Changed there, the
page is written anew by `MODNET_WRITE_DOCS=1 python -m pytest tests/sdk/test_modules_page.py`.
"""

import importlib
import os
import re
from pathlib import Path

from modnet import loader, settings

PAGE = Path(__file__).parents[2] / "docs/modules.md"
ORDER = ("gzip", "filter", "throttle", "tap", "forwarder")
HEAD = """# The modules that come with ModNet

<!-- Made by tests/sdk/test_modules_page.py from the modules' docstrings: change those, then
`MODNET_WRITE_DOCS=1 python -m pytest tests/sdk/test_modules_page.py`. -->

`-m NAME,key=value` puts one on a command's connections; `modnet module show NAME` shows the same settings.
Every module also has the keys that are [ModNet's own](writing-a-module.md#settings): `as`, `settings`,
`on_error`, `send_queue`, `revocable`, `drain`, `workers`.
"""


def section(name: str) -> str:
    """One module: what its file says of it, and its settings."""
    cls = loader.find(loader.parse(name))
    about = (importlib.import_module(cls.__module__).__doc__ or "").strip()
    rows = [
        (one.name, f"`{one.type}`", one.help, "must be given" if one.default is None else f"`{one.default}`")
        for one in settings.describe(cls.Settings)
    ]
    # What stands between bars in Markdown is a border.
    cells = [[re.sub(r",(?=\S)", ", ", cell.replace("|", "\\|")) for cell in row] for row in rows]
    table = "\n".join(
        f"| {' | '.join(row)} |" for row in [["setting", "type", "is", "default"], ["---"] * 4, *cells]
    )
    return f"\n## {name}\n\n{about}\n" + (f"\n{table}\n" if rows else "")


def test_the_page_says_what_the_modules_say() -> None:
    ours = {one.name for one in loader.available() if one.reference.startswith("modnet.modules")}
    assert ours == set(ORDER)
    page = HEAD + "".join(section(name) for name in ORDER)
    if os.environ.get("MODNET_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
