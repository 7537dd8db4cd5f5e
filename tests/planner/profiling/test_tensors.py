"""``splitpoint profile --data``: every cut from one pass, the detail of one cut, and what cannot be asked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest
from rich.console import Console

from splitpoint.cli import main
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.output.documents.tensors import tensors_part
from splitpoint.planner.output.plot import columns
from splitpoint.planner.output.terminal.tensors import tensors_view
from splitpoint.planner.profiling.compressibility import BITS
from splitpoint.planner.profiling.tensors import choose, load_with_data, measure_cuts
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.profiles.errors import ProfileError

Array = np.ndarray[Any, Any]
MODEL = """
<ir_version: 9, opset_import: ["" : 17]>
net (float[1,3,8,8] x) => (float[1,5] scores) {
    c0 = Conv <pads = [1, 1, 1, 1]> (x, w0)
    r0 = Relu (c0)
    pooled = GlobalAveragePool (r0)
    flat = Flatten (pooled)
    scores = Gemm (flat, w1)
}
"""
COUNT = 10
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx and data.npz."""
    folder, rng = tmp_path_factory.mktemp("profile"), np.random.default_rng(0)
    proto = onnx.parser.parse_model(MODEL)
    for name, shape in {"w0": (6, 3, 3, 3), "w1": (6, 5)}.items():
        values = rng.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    np.savez(folder / "data.npz", x=rng.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(
            [
                "profile",
                str(home / "model.onnx"),
                "--data",
                str(home / "data.npz"),
                "--threads",
                "1",
                *map(str, arguments),
            ]
        )
        text = capsys.readouterr()
        return code, text.out, text.err

    return call


def test_all_cuts_are_measured_in_one_pass_one_input_at_a_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, dataset, _ = load_with_data(str(home / "model.onnx"), str(home / "data.npz"), None)
    assert len(dataset) == COUNT
    cuts = enumerate_cuts(graph).cuts
    passes: list[int] = []
    sweep = NetworkRuns.sweep

    def counted(self: NetworkRuns, *arguments: Any) -> Any:
        passes.append(1)
        return sweep(self, *arguments)

    monkeypatch.setattr(NetworkRuns, "sweep", counted)
    monkeypatch.setattr(NetworkRuns, "activation", None)  # what keeps activations
    steps: list[int] = []
    statistics = measure_cuts(graph, cuts, dataset, threads=1, step=lambda: steps.append(1))
    assert (len(passes), len(steps)) == (1, COUNT)
    assert set(statistics) == {name for cut in cuts for name in cut.tensors} == {"x", "c0", "r0", "pooled", "flat"}
    monkeypatch.undo()
    runs = NetworkRuns(graph, {"data": NetworkInputs(dataset)}, threads=1)
    relu = np.stack([runs.activation(choose(cuts, 2)[0], "data", i)["r0"] for i in range(len(dataset))])
    assert statistics["r0"].zero_fraction == pytest.approx((relu == 0).mean(), abs=1e-3)
    assert statistics["r0"].high == pytest.approx(relu.max(), rel=1e-5)


def test_json_holds_everything_of_every_cut(run: Run) -> None:
    code, out, _ = run("--json", "--sqnr", "25")
    answer = json.loads(out)
    assert code == 0
    assert answer["profile"]["nodes"]
    data = answer["data"]
    assert (data["inputs"], data["target_db"]) == (COUNT, 25)
    assert data["cuts"][0]["after"] == "input"
    (relu,) = (row for row in data["cuts"] if row["tensor"] == "r0")
    assert 0.2 < relu["zero_fraction"] < 0.8
    assert (set(relu["entropy_bit"]), set(relu["sqnr_db"])) == ({str(b) for b in BITS},) * 2
    assert sum(relu["histogram"]) == COUNT * relu["elements"] == COUNT * 6 * 8 * 8
    assert len(relu["spectrum"]) == relu["channels"] == 6
    assert 1 <= relu["components_95"] <= relu["components_99"] <= 6
    assert 0 < relu["scalar_estimated_bit"] < 32 * relu["elements"]
    fewer = json.loads(run("--json", "--sqnr", "10", "--inputs", "4", "--cut", "2")[1])["data"]
    assert fewer["inputs"] == 4
    assert [row["tensor"] for row in fewer["cuts"]] == ["r0"]
    assert fewer["cuts"][0]["scalar_estimated_bit"] < relu["scalar_estimated_bit"]


def test_the_table_fits_80_columns(home: Path) -> None:
    graph, dataset, assumed = load_with_data(str(home / "model.onnx"), str(home / "data.npz"), None)
    cuts = enumerate_cuts(graph).cuts
    statistics = measure_cuts(graph, cuts, dataset, threads=1, step=lambda: None)
    part = tensors_part(cuts, statistics, target_db=20.0, assumed=assumed)
    first = msgspec.structs.replace(part.cuts[0], after="a.very.long.path.of.modules.0.block/Conv")
    part = msgspec.structs.replace(part, cuts=(first, *part.cuts[1:]))
    console = Console(width=80, file=io.StringIO())
    console.print(tensors_view(part, detail=False))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # the StringIO above
    assert all(len(line) <= 80 for line in lines)
    (relu,) = (line for line in lines if "6x8x8" in line and f"{statistics['r0'].entropy_bit[4]:.2f}" in line)
    assert f"{statistics['r0'].zero_fraction:.0%}" in relu


def test_the_detail_of_one_cut_draws_a_histogram(run: Run) -> None:
    code, out, _ = run("--cut", "2")
    assert code == 0
    assert "slowest operators" not in out
    assert "6x8x8" in out
    histogram = next(line for line in out.splitlines() if line.startswith("histogram"))
    assert "█" in histogram
    assert "square root" in histogram


def test_what_cannot_be_asked_is_refused(run: Run, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(home / "model.onnx"), "--cut", "2"]) == 2
    assert "--data" in capsys.readouterr().err
    code, _, err = run("--cut", "99")
    assert code == 3
    assert "no cut 99" in err
    assert "splitpoint cuts" in err


def test_a_constant_tensor_has_no_error_and_stays_valid_json(home: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", x=np.full((4, 8, 8, 3), 255, np.uint8))
    graph, dataset, _ = load_with_data(str(home / "model.onnx"), str(tmp_path / "flat.npz"), None)
    cuts = choose(enumerate_cuts(graph).cuts, 0)
    statistics = measure_cuts(graph, cuts, dataset, threads=1, step=lambda: None)
    (row,) = tensors_part(cuts, statistics, target_db=20.0, assumed=None).cuts
    assert row.sqnr_db["4"] is None
    json.dumps(msgspec.to_builtins(row), allow_nan=False)
    with pytest.raises(ProfileError, match="no cut 7"):
        choose(cuts, 7)


def test_columns_are_as_high_as_the_root_of_their_share() -> None:
    assert columns([0, 1, 16, 64]) == " ▁▄█"
    assert columns([0, 0]) == "  "
    assert columns([]) == ""
