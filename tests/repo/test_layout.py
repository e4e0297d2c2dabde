"""What ARCHITECTURE.md and CONTRIBUTING.md promise about the tree, asked of the tree.

Rules: only what can be read from files; nothing is built or run.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Down only: the crates that a crate may know.
MAY_KNOW = {
    "abi": set(),
    "pool": {"abi"},
    "shim": {"abi", "pool"},
    "inspect": {"abi"},
    "revoke": {"abi", "inspect"},
    "transform": set(),
    "estimate": set(),
    "engine": {"abi", "pool", "inspect", "revoke"},
    "ffi": {"abi", "engine", "inspect"},
    "python": {"abi", "engine", "estimate", "inspect", "revoke", "transform"},
}
LONGEST = 600
TWO_PAGES = 110


def tracked(*patterns: str) -> list[Path]:
    """Files that are in git or about to be, those below experiments' outputs left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def manifest(crate: str) -> dict:
    return tomllib.loads((ROOT / "crates" / crate / "Cargo.toml").read_text())


def test_every_crate_has_a_rule():
    assert {p.parent.name for p in tracked("crates/*/Cargo.toml") if p.parent.name != "fuzz"} == set(MAY_KNOW)


@pytest.mark.parametrize("crate", sorted(MAY_KNOW))
def test_crates_depend_downwards_only(crate):
    ours = {
        name.removeprefix("modnet-") for name in manifest(crate).get("dependencies", {}) if "modnet-" in name
    }
    assert ours <= MAY_KNOW[crate]


def test_the_shim_depends_on_libc_abi_and_pool_only():
    assert set(manifest("shim")["dependencies"]) <= {"libc", "modnet-abi", "modnet-pool"}


def test_the_pool_depends_on_the_abi_only():
    assert set(manifest("pool")["dependencies"]) == {"modnet-abi"}


def test_the_abi_depends_on_nothing():
    assert not manifest("abi").get("dependencies")


def test_only_the_python_crate_knows_python():
    knowing = {crate for crate in MAY_KNOW if "pyo3" in manifest(crate).get("dependencies", {})}
    assert knowing == {"python"}


def test_the_package_does_not_import_tests_or_experiments():
    wrong = [
        path
        for path in tracked("python/*.py")
        if re.search(r"^\s*(from|import) (experiments|tests)\b", path.read_text(), re.MULTILINE)
    ]
    assert wrong == []


def test_the_estimators_know_nothing_of_the_rest():
    files = tracked("python/modnet/estimate/*.py")
    imported = {
        name
        for path in files
        for name in re.findall(r"^\s*(?:from|import) (modnet\S*)", path.read_text(), re.MULTILINE)
    }
    assert all(name.startswith("modnet.estimate") or name == "modnet._native" for name in imported)
    assert "modnet._native" in imported and not manifest("estimate").get("dependencies")


def test_the_engines_unit_tests_start_no_process():
    """A child holds copies of every descriptor until it execs: see crates/engine/tests/processes/main.rs."""
    sources = (ROOT / "crates/engine/src").rglob("*.rs")
    spawning = re.compile(r"\bprocess::\{?.*\bCommand\b|\bposix_spawn|libc::v?fork\(")
    assert [str(path.relative_to(ROOT)) for path in sources if spawning.search(path.read_text())] == []
    assert spawning.search((ROOT / "crates/engine/tests/processes/main.rs").read_text())


@pytest.mark.parametrize("pattern", ["*.rs", "*.py", "*.sh", "*.c"])
def test_every_file_opens_with_its_job(pattern):
    opening = {
        "*.rs": ("//!",),
        "*.py": ('"""', "#!"),
        "*.sh": ("#!",),
        "*.c": ("/*", "//"),
    }[pattern]
    files = [path for path in tracked(pattern) if path.stat().st_size]
    assert files
    silent = [str(path.relative_to(ROOT)) for path in files if not path.read_text().startswith(opening)]
    assert silent == []


def test_files_are_of_a_few_hundred_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("*.rs", "*.py", "*.c", "*.sh")}
    names = {str(path.relative_to(ROOT)): n for path, n in lengths.items()}
    assert {k: n for k, n in names.items() if n > LONGEST} == {}


def test_links_in_documents_lead_somewhere():
    broken = []
    for document in tracked("*.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
            if "://" not in link and not (document.parent / link).exists():
                broken.append(f"{document.name}: {link}")
    assert broken == []


def test_the_architecture_has_two_pages_and_lists_every_decision_once():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert len(text.splitlines()) <= TWO_PAGES
    listed = re.findall(r"^\| (\d+) \| \[(.*?)\]\((docs/decisions/(\d+)-.*?\.md)\)", text, re.MULTILINE)
    assert [int(number) for number, *_ in listed] == list(range(1, len(listed) + 1))
    assert {ROOT / file for _, _, file, _ in listed} == {*(ROOT / "docs/decisions").iterdir()}
    for number, title, file, prefix in listed:
        assert int(prefix) == int(number)
        assert (ROOT / file).read_text().startswith(f"# {number}. {title}\n\n")


def test_only_one_place_says_the_version():
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]
    for crate in MAY_KNOW:
        assert manifest(crate)["package"]["version"] == {"workspace": True}
