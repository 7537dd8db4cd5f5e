"""Peak memory of a plan whose network has a large output.

    python -m splitpoint.benchmarks.plan_memory [--old PATH]

A seeded network of six convolutions with an output of 3 MB, 60 pictures, 120 candidates. Each plan runs in a process of
its own, whose peak is what the operating system reports. With --old another checkout runs the same after it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from splitpoint.benchmarks.stored import RESULTS, store

SIDE, CHANNELS, INPUTS, CANDIDATES = 64, 192, 60, 120
PLAN = "import sys; from splitpoint.cli import main; sys.exit(main(sys.argv[1:]))"


def network() -> bytes:
    """Convolutions at full resolution: (1, 3, 64, 64) to (1, 192, 64, 64) float32, 3.1 MB."""
    rng = np.random.default_rng(0)
    nodes, weights, x, width = [], [], "x", 3
    for i, out in enumerate((16, 16, 32, 32, 64, CHANNELS)):
        kernel = (rng.normal(size=(out, width, 3, 3)) / np.sqrt(9 * width)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        x, width = f"r{i}", out
    entry = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, SIDE, SIDE))
    result = helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, (1, CHANNELS, SIDE, SIDE))
    model = helper.make_model(
        helper.make_graph(nodes, "wide", [entry], [result], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return bytes(model.SerializeToString())


def prepare(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(network())
    coarse = np.random.default_rng(1).integers(0, 256, (INPUTS, 8, 8, 3), np.uint8)
    np.savez(folder / "data.npz", x=np.kron(coarse, np.ones((1, 8, 8, 1), np.uint8)))


def peak_bytes(tree: Path, folder: Path) -> int:
    """Peak resident bytes of ``splitpoint plan`` by the checkout at `tree`."""
    with tempfile.TemporaryDirectory() as link:
        (Path(link) / "splitpoint").symlink_to(tree, target_is_directory=True)
        arguments = [str(folder / "model.onnx"), "--data", str(folder / "data.npz"), "--device", "raspberry-pi-4"]
        arguments += ["--server", "cloud-8core", "--evaluations", str(CANDIDATES), "--threads", "2"]
        if (tree / "planner" / "deploy" / "task.py").is_file():  # an older checkout has no tasks
            arguments += ["--task", "tensor"]
        command = [sys.executable, "-W", "ignore", "-c", PLAN, "plan", *arguments, "--out", str(Path(link) / "plan")]
        log = Path(link) / "log"
        with log.open("w") as output:
            running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": link}, stdout=output, stderr=output)
            _, status, usage = os.wait4(running.pid, 0)
        if os.waitstatus_to_exitcode(status) not in (0, 1):
            raise RuntimeError(log.read_text()[-2000:])
    return 1024 * usage.ru_maxrss


def main(arguments: list[str]) -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, help="another checkout to compare with")
    options = parser.parse_args(arguments)
    trees = {"this": Path(__file__).resolve().parents[1]} | ({"old": options.old.resolve()} if options.old else {})
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        rows = [{"tree": name, "peak_bytes": peak_bytes(tree, Path(folder))} for name, tree in trees.items()]
    for row in rows:
        print(f"{row['tree']:<6} {int(row['peak_bytes']) / 1e9:6.2f} GB")
    store(
        RESULTS / "plan-memory.json", {"rows": rows}, command="plan_memory --old PATH" if options.old else "plan_memory"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
