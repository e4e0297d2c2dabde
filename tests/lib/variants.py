"""Natively, or under which modules: the columns of every matrix.

A variant is a name and the `-m` arguments that `modnet run` gets; `native` has none and is not run by
`modnet` at all, so that every test can show that it holds without us.
"""

from pathlib import Path

from tests.lib.place import Place

IDENTITY = Path(__file__).parents[1] / "integrity" / "identity.py"

NATIVE = "native"
VARIANTS: dict[str, list[str]] = {
    NATIVE: [],
    "forwarder": ["forwarder"],
    "chain": ["forwarder", "forwarder,as=second", "forwarder,as=third"],
    # So high that only its bookkeeping acts, but bursts of the larger files exceed it.
    "throttle": ["throttle,rate=1GB,burst=1MB"],
    "identity": ["{identity}:Identity"],
    # Clients that take no coding get every byte as it was, and what is no HTTP passes.
    "gzip": ["gzip,level=6"],
}
# Of single tests: no column of a matrix.
OTHERS: dict[str, list[str]] = {
    "codings": ["gzip,level=6,coding=zstd,coding=br,coding=gzip"],
}


def modules_of(variant: str) -> list[str]:
    """Its `-m` arguments."""
    return (VARIANTS | OTHERS)[variant]


def wrap(place: Place, variant: str, argv: list[str]) -> list[str]:
    """The command that runs `argv` under the variant's modules."""
    if variant == NATIVE:
        return argv
    modules = []
    for module in modules_of(variant):
        modules += ["-m", module.format(identity=place.copy(IDENTITY))]
    return place.modnet("run", *modules, "--", *argv)


def module_names(variant: str) -> list[str]:
    """Under which names the variant's modules register."""
    names = []
    for module in modules_of(variant):
        first, *settings = module.split(",")
        renamed = [s.removeprefix("as=") for s in settings if s.startswith("as=")]
        names.append(renamed[0] if renamed else first.rpartition(":")[2].lower() or first)
    return names
