"""The wheel: what has to be inside it, for a machine that has no clone.

Rules: it is built from the tree as it stands, which costs a few seconds after `make build`.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.Path:
    out = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.executable).parent / "maturin"
    subprocess.run(
        ["scripts/rust.sh", maturin, "build", "--release", "--quiet", "--out", out],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.parametrize(
    "path",
    [
        "modnet/__init__.py",
        "modnet/py.typed",
        "modnet/_native.pyi",
        "modnet/_native.abi3.so",
        "modnet/lib/libmodnet_shim.so",
        "modnet/lib/libmodnet.so",
        "modnet/lib/pkgconfig/modnet.pc",
        "modnet/include/modnet.h",
    ],
)
def test_the_wheel_holds(wheel, path):
    assert path in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_is_for_any_python_from_3_11(wheel):
    assert "-cp311-abi3-" in wheel.name


def test_the_wheels_command_runs_where_there_is_no_clone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    # -P and -S keep the clone's editable install out; what the package depends on is found beside it.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; sys.path.append({packages!r})\n"
        "import modnet; print(modnet.__file__)\n"
        "from modnet.cli import main; main(['--version'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    where, said = done.stdout.splitlines()[:2]
    assert where.startswith(str(tmp_path))
    assert said.startswith("modnet ")
