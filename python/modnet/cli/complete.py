"""Completion of modules' and processes' names. Rule: never an error on somebody's command line; nothing is
suggested instead.
"""

from __future__ import annotations

import click

__all__ = ["living_modules", "module_specs"]


def module_specs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Modules that have a name; after the comma, the settings of the one that was named."""
    from modnet import loader, settings
    from modnet._spec import RESERVED

    try:
        head, comma, last = incomplete.rpartition(",")
        if not comma:
            return [one.name for one in loader.available() if one.name.startswith(incomplete)]
        module = head.split(",")[0]
        cls = loader.find(loader.parse(module))
        keys = [info.name for info in settings.describe(cls.Settings)] + sorted(RESERVED)
        return [f"{head},{key}=" for key in keys if key.startswith(last)]
    except Exception:
        return []


def living_modules(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the modules that run now."""
    from modnet.registry import Registry

    try:
        return [name for name in Registry().modules() if name.startswith(incomplete)]
    except Exception:
        return []
