"""Wheel and sdist hold the package and nothing else, and work outside the repository, on a read-only disk too."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("profiles", "codecs", "planner")
PROFILES = ("devices", "servers", "links")
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "plan", "plans")

# Linux lets root write wherever it likes. Giving up CAP_DAC_OVERRIDE (1) before the program starts makes permission
# bits bind; for other users, and on other systems, they bind anyway.
BOUND = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-W", "error", "-c", sys.argv[1], *sys.argv[2:]])
"""
ROUND_TRIP = """
import os, sys, numpy as np, splitpoint
from splitpoint.codecs.contract.protocol import Context, fit_one
from splitpoint.codecs.registry import get
package = os.path.dirname(splitpoint.__file__)
assert package == sys.argv[1], package
try:
    open(os.path.join(package, "written"), "w").close()
    print("not read-only")
    sys.exit()
except PermissionError:
    pass
codec = get("brito-sq")
x = np.random.default_rng(0).normal(size=(8, 4, 6, 6)).astype(np.float32)
coder = fit_one(codec, x, 2, Context()).coder
spec = coder.specs[0]
symbols = {spec.name: np.arange(spec.elements, dtype=spec.dtype).reshape(spec.shape) % (spec.high + 1)}
decoded = coder.decode(coder.encode(symbols))
assert np.array_equal(decoded[spec.name], symbols[spec.name])
print("equal")
"""


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str, folder: Path) -> str:
    return run([sys.executable, "-m", "pip", *arguments, "--quiet", "--no-index"], folder)


def wheel_of(source: Path, out: Path) -> Path:
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source), folder=out)
    return next(out.glob("splitpoint-*.whl"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, since building writes into it."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "splitpoint", ignore=NOT_SOURCE))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The wheel's files, unpacked into an empty folder."""
    pip("install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel), folder=tmp_path)
    return tmp_path / "site"


def expected() -> set[str]:
    """What a wheel has to hold, from the tree."""
    paths = [ROOT / "__init__.py", ROOT / "__main__.py", ROOT / "cli.py", ROOT / "py.typed"]
    paths += [ROOT / "profiles" / "library" / name for name in ("networks.csv", "priors.json", "whole_networks.csv")]
    for package in PACKAGES:
        paths += (ROOT / package).rglob("*.py")
    paths += [ROOT / "planner" / "output" / "report" / name for name in ("script.js", "style.css")]
    for kind in PROFILES:
        paths += (ROOT / "profiles" / "library" / kind).glob("*.yaml")
    return {f"splitpoint/{path.relative_to(ROOT).as_posix()}" for path in paths}


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/") and ".dist-info/" not in name}


def test_the_wheel_is_the_tree(wheel: Path) -> None:
    assert contents(wheel) == expected()
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        (scripts,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "splitpoint = splitpoint.cli:entry" in archive.read(scripts).decode()


def test_the_sdist_builds_the_same_wheel(source: Path, tmp_path: Path) -> None:
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    run([sys.executable, "-c", code], source)
    with tarfile.open(next(tmp_path.glob("splitpoint-*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert (unpacked / "README.md").is_file()
    assert contents(wheel_of(unpacked, tmp_path)) == expected()


def test_every_shipped_profile_loads_by_name_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    shipped = {
        kind: sorted(path.stem for path in (ROOT / "profiles" / "library" / kind).glob("*.yaml")) for kind in PROFILES
    }
    assert all(shipped.values())
    code = f"""
import os, splitpoint
from splitpoint.profiles.library.catalog import load_device, load_link, load_server
assert os.path.dirname(splitpoint.__file__) == {str(installed / "splitpoint")!r}, splitpoint.__file__
for kind, load in (("devices", load_device), ("servers", load_server), ("links", load_link)):
    for name in {shipped}[kind]:
        assert load(name).name, name
        print(name)
"""
    printed = run([sys.executable, "-W", "error", "-c", code], tmp_path, PYTHONPATH=str(installed))
    assert printed.split() == [name for kind in PROFILES for name in shipped[kind]]


def test_the_console_script_and_the_module_run(installed: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(installed / "bin" / "splitpoint")]
    for command in (script, [sys.executable, "-m", "splitpoint.cli"]):
        assert run([*command, "--version"], tmp_path, PYTHONPATH=str(installed)).startswith("splitpoint ")


@pytest.mark.parametrize("cache", ["writable", "read-only"])
def test_entropy_coders_run_from_a_read_only_folder(installed: Path, tmp_path: Path, cache: str) -> None:
    """Compiled code goes to the user's cache folder; where that cannot be written either, it is compiled each time."""
    home = tmp_path / "home"
    home.mkdir()
    readonly = [installed, *installed.rglob("*"), *([home] if cache == "read-only" else [])]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in readonly}
    for path in readonly:
        path.chmod(modes[path] & 0o555)
    try:
        caches = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "NUMBA_CACHE_DIR": ""}
        command = [sys.executable, "-c", BOUND, ROUND_TRIP, str(installed / "splitpoint")]
        printed = run(command, tmp_path, PYTHONPATH=str(installed), **caches).strip()
    finally:
        for path in readonly:
            path.chmod(modes[path])
    if printed == "not read-only":
        pytest.skip("permission bits do not bind this user")
    assert printed == "equal"
    assert bool(list(home.rglob("*.nbc"))) == (cache == "writable")
