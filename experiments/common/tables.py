"""Tables that all experiments print. It must not compute figures."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from experiments.common.report import Report


def console() -> Console:
    """As wide as the terminal; piped, as wide as tables need."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def checks(on: Console, report: Report) -> None:
    """Each check with its value and bound."""
    made = Table("check", "value", "bound", "ok")
    for check in report.checks:
        value = "-" if check.value is None else f"{check.value:.4g}"
        made.add_row(check.name, value, check.bound, "yes" if check.ok else "[red]NO[/red]")
    on.print(made)
