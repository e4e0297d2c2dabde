"""Imports a module's code: from a file by its path, or from an installed package.

Whatever the code raises while it is imported is told in one line with file and line, since it is somebody's
typing mistake more often than a fault that needs a traceback. A file is compiled here, without importlib's
cache: the bytes whose digest is compared are the bytes that run, and no `__pycache__` appears beside a
user's file. Must not: look for classes, or know what a module is.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from modnet.errors import SystemRefused, UsageError

__all__ = ["digest_of", "import_file", "import_name", "told"]


def import_file(path: Path) -> ModuleType:
    """The Python module made of the file; made once for the same path and content."""
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except OSError as error:
        raise SystemRefused(f"cannot read {path}: {error.strerror}") from None
    digest = hashlib.sha256(source).hexdigest()
    where = hashlib.sha256(bytes(path)).hexdigest()[:8]
    name = f"_modnet_file_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{where}_{digest[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__dict__["__modnet_digest__"] = digest
    # What stands beside the file can be imported, as with `python file.py`; at the end, so that it hides
    # nothing.
    _look_in(path.parent)
    # Registered first: dataclasses and type hints look their module up.
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except BaseException as error:  # also SystemExit: the file is somebody's script
        del sys.modules[name]
        raise UsageError(told(error, str(path))) from error
    return module


def import_name(name: str, directory: Path) -> ModuleType:
    """The Python module `name`, installed or below `directory`."""
    _look_in(directory)
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UsageError(
                f"no Python module {error.name!r}, neither installed nor in {directory}: install it beside "
                "modnet, or give its file as path/to/file.py:Class"
            ) from None
        raise UsageError(told(error, name)) from error
    except BaseException as error:
        raise UsageError(told(error, name)) from error


def digest_of(module: ModuleType) -> tuple[str, str]:
    """The file that the code came from and the SHA-256 of its content; empty strings where there is no
    file.
    """
    file = getattr(module, "__file__", None)
    if file is None:
        return "", ""
    digest = module.__dict__.get("__modnet_digest__")
    if digest is None:
        try:
            digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            digest = ""
    return file, str(digest)


def _look_in(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.append(str(directory))


def told(error: BaseException, where: str) -> str:
    """What somebody's code has raised, with file and line; `where` is its file, or how the user calls it."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or where}:{error.lineno or 1}: {type(error).__name__}: {error.msg}"
    # Here, since only a mistake needs it, and `modnet run` starts in front of every command.
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == where] or [
        frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__
    ]
    if own:
        where = f"{own[-1].filename}:{own[-1].lineno}"
    said = f": {error}" if str(error) else ""
    advice = "; install it beside modnet" if isinstance(error, ModuleNotFoundError) else ""
    return f"{where}: {type(error).__name__}{said}{advice}"
