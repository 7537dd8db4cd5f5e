"""What the base install must do without any extra, in the folder that tests/small_plan.py made: base_install.py DIR.

Run by an environment that holds the wheel and its dependencies only.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from splitpoint.profiles.library.catalog import load_device

EXTRAS = ("fvcore", "matplotlib", "onnxscript", "optuna", "pytest", "sklearn", "torch", "torch_pruning")
TOLERANCE = 1e-5  # of the largest output: another session of the same ONNX Runtime, on the same machine
DEVICE = (
    "from splitpoint import Plan; from pathlib import Path\n"
    "from splitpoint.profiles.network.inputs import read_picture\n"
    "plan = Plan.load('.'); Path('payload').write_bytes(plan.head(read_picture(Path('photo.png'), plan.file.input)))"
)
SERVER = (
    "from splitpoint import Plan; from pathlib import Path; import numpy as np\n"
    "np.save('y.npy', Plan.load('.').tail(Path('payload').read_bytes()))"
)


def main(made: Path) -> None:
    """Every check in order; an AssertionError says which one does not hold."""
    for name in EXTRAS:
        assert importlib.util.find_spec(name) is None, f"{name} is installed: this is no base install"
    print(f"none of {', '.join(EXTRAS)} is installed")
    with tempfile.TemporaryDirectory() as folder:
        profiles(Path(folder))
        verify(made, Path(folder))
        two_halves(made, Path(folder))
        measure(made, Path(folder))
        calibrate(Path(folder))
        missing_extra(made, Path(folder))


def profiles(folder: Path) -> None:
    """`splitpoint profiles` lists each kind."""
    rows = json.loads(splitpoint("profiles", "--json", folder=folder).stdout)["profiles"]
    kinds = {kind: sum(row["kind"] == kind for row in rows) for kind in ("device", "server", "link")}
    assert all(kinds.values()), kinds
    print(f"splitpoint profiles: {kinds}")


def verify(made: Path, folder: Path) -> None:
    """`splitpoint verify` re-runs the plan from its files and finds nothing off."""
    answer = json.loads(splitpoint("verify", str(made / "plan"), "--json", folder=folder).stdout)
    for check in answer["checks"]:
        print(f"splitpoint verify: {check['name']} {check['status']}: {check['text']}")
    assert answer["count"]["failed"] == 0
    assert answer["count"]["passed"] >= 5


def two_halves(made: Path, folder: Path) -> None:
    """Head and tail in two processes that share the payload only give what the full environment got."""
    device, server = folder / "device", folder / "server"
    for side, names in (
        (device, ("plan.yaml", "head.onnx", "codec.npz")),
        (server, ("plan.yaml", "tail.onnx", "codec.npz")),
    ):
        side.mkdir()
        for name in names:
            shutil.copy(made / "plan" / name, side / name)
    shutil.copy(made / "photo.png", device)
    run([sys.executable, "-W", "error", "-c", DEVICE], device)
    shutil.copy(device / "payload", server)
    run([sys.executable, "-W", "error", "-c", SERVER], server)
    payload, y, y0 = (device / "payload").read_bytes(), np.load(server / "y.npy"), np.load(made / "photo.npy")
    assert payload == (made / "photo.payload").read_bytes()
    assert np.abs(y - y0).max() <= TOLERANCE * np.abs(y0).max(), (y, y0)
    print(f"Plan: head gave the same {len(payload)} bytes, tail the same {y.shape} output")


def measure(made: Path, folder: Path) -> None:
    """An ONNX model is measured and cut without torch."""
    splitpoint("profile", str(made / "model.onnx"), "--out", "profile.yaml", folder=folder)
    assert (folder / "profile.yaml").is_file()
    cuts = json.loads(splitpoint("cuts", str(made / "model.onnx"), "--json", folder=folder).stdout)["cuts"]
    assert len(cuts) > 2, cuts
    print(f"splitpoint profile, cuts: {len(cuts)} cuts")


def calibrate(folder: Path) -> None:
    """`splitpoint calibrate` writes a device profile that can be loaded."""
    splitpoint("calibrate", "--out", "mine.yaml", folder=folder, codes=(0, 1))  # 1: too busy to be trusted
    device = load_device(folder / "mine.yaml")
    assert device.compute.dense_macs_s > 0
    assert device.fingerprint is not None
    print(f"splitpoint calibrate: {device.name}, {device.compute.dense_macs_s / 1e9:.1f} GMAC/s dense")


def missing_extra(made: Path, folder: Path) -> None:
    """`splitpoint plan` needs the extra and says so in one sentence with the pip command."""
    command = [str(Path(sys.executable).parent / "splitpoint"), "plan", str(made / "model.onnx")]
    done = run([*command, "--data", str(made / "photos"), "--out", "plan"], folder, codes=(3,))
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "python -m pip install 'splitpoint[plan]'" in done.stderr, done.stderr
    print(f"splitpoint plan: {error}")


def splitpoint(*arguments: str, folder: Path, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """The console script of this environment."""
    return run([str(Path(sys.executable).parent / "splitpoint"), *arguments], folder, codes=codes)


def run(command: list[str], folder: Path, *, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """Run in `folder`; the exit code has to be one of `codes`."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in codes, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done


if __name__ == "__main__":
    main(Path(sys.argv[1]))
