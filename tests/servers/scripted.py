"""Servers that are a script in this folder: CPython's http.server, node, Java's HttpServer."""

from pathlib import Path

from tests.lib.place import Place
from tests.lib.users import interpreter
from tests.servers.base import Server, Traits

HERE = Path(__file__).parent


def python_command(place: Place, www: Path) -> list[str]:
    return [interpreter(place.user), str(place.copy(HERE / "files.py")), str(place.port), str(www)]


def node_command(place: Place, www: Path) -> list[str]:
    return ["node", str(place.copy(HERE / "files.js")), str(place.port), str(www)]


def java_command(place: Place, www: Path) -> list[str]:
    # A small heap and the serial collector: the machine is shared with the client and the modules.
    return [
        "java",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        str(place.copy(HERE / "Files.java")),
        str(place.port),
        str(www),
    ]


# node ends a connection whose client has half-closed as soon as what it has written is out.
CUT = frozenset({"ok", "short", "reset"})

PYTHON = Server("http.server", ("python3",), python_command, Traits(upload="post", reset="/reset"))
# Its parser refuses input behind a request that says close, even before that request is answered.
STRICT = frozenset({"ok", "short", "reset", "declined"})
NODE = Server(
    "node", ("node",), node_command, Traits(upload="post", reset="/reset", half_close=CUT, unread=STRICT)
)
# The JDK's server looks for connections that have idled away only now and then.
JAVA = Server("java", ("java",), java_command, Traits(upload="post", tidy=False))
