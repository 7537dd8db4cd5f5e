"""Activations of training inputs: ONNX Runtime's, once, within a limit, whole or not used."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import FitError
from splitpoint.planner.coding import activations as module
from splitpoint.planner.coding.activations import Activations, Place, activations
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.data import TrainingSet
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.nets import with_weights

TENSOR = msgspec.convert({"kind": "tensor"}, InputSpec)
GRAPH = load_graph(
    with_weights("""
<ir_version: 10, opset_import: ["": 21]>
agraph (float[1, 3, 4, 4] x) => (float[1, 5] y)
<float[8, 3, 3, 3] w, int64[2] shape = {1, 8}, float[8, 5] u>
{
    a = Conv (x, w)
    b = Relu (a)
    c = GlobalAveragePool (b)
    d = Reshape (c, shape)
    y = MatMul (d, u)
}
""")
)
INPUT_BYTES = 2 * (8 * 2 * 2 + 5)  # of "b" and "y" as fp16
NAMES = ("b", "y")


def training_set(count: int = 200, scale: float = 0.01) -> TrainingSet:
    content = scale * np.random.default_rng(0).normal(size=(count, 3, 4, 4)).astype(np.float32)
    return TrainingSet(content=content, labels=None, spec=TENSOR)


def kept(place: Place, data: TrainingSet | None = None, **named: Any) -> Activations:
    data = data or training_set()
    return activations(GRAPH, NAMES, data, data.sha256(), place, threads=2, **named)


def everywhere(folder: Path | None, limit_bytes: int = 10**9) -> Place:
    return Place(folder=folder, limit_bytes=limit_bytes)


@pytest.mark.parametrize("stored", [True, False])
def test_tensors_are_those_of_onnx_runtime(tmp_path: Path, stored: bool) -> None:
    data, said = training_set(), list[str]()
    found = kept(everywhere(tmp_path / "new" if stored else None), data, report=said.append)
    session = open_session(expose(whole_bytes(GRAPH), ["b"]), level="all", threads=1)
    assert list(found.rows) == list(range(200))
    assert said == [
        "activations 64 of 200",
        "activations 128 of 200",
        "activations 192 of 200",
        "activations 200 of 200",
    ]
    for place in (0, 63, 64, 199):
        outputs = session.run({"x": data.content[place : place + 1]})
        for name in NAMES:
            row = found.tensor(name, np.array([place])).numpy()
            assert row.shape == outputs[name].shape
            np.testing.assert_allclose(row, outputs[name], rtol=2**-11, atol=1e-6)
    assert found.tensor("b", np.array([5, 3])).shape == (2, 8, 2, 2)


def test_they_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept(everywhere(tmp_path))
    monkeypatch.setattr(module, "_computed", lambda *given: pytest.fail("computed again"))
    assert (kept(everywhere(tmp_path)).values == first.values).all()
    with pytest.raises(pytest.fail.Exception):
        kept(everywhere(tmp_path), training_set(scale=0.02))


@pytest.mark.parametrize("damage", ["bit", "short"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    values = np.array(kept(everywhere(tmp_path)).values)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content if damage == "bit" else content[:-2])
    assert (kept(everywhere(tmp_path)).values == values).all()


def test_a_limit_takes_evenly_spaced_inputs(tmp_path: Path) -> None:
    found = kept(everywhere(tmp_path, 100 * INPUT_BYTES + 32 + 1))
    assert list(found.rows) == list(range(0, 200, 2))
    every = kept(everywhere(None))
    assert (found.values == every.values[::2]).all()


def test_too_small_a_limit_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(
        FitError, match=r"hold the activations of 63 training inputs, at least 64 .*activations to 4768 B"
    ):
        kept(everywhere(tmp_path, 64 * INPUT_BYTES + 31))
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    size = 200 * INPUT_BYTES + 32
    for number, scale in enumerate((0.01, 0.02)):
        kept(everywhere(tmp_path), training_set(scale=scale))
        for path in tmp_path.iterdir():
            os.utime(path, (number, number)) if path.stat().st_mtime > 100 else None
    old, new = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    kept(everywhere(tmp_path, 2 * size), training_set(scale=0.03))
    assert not old.exists()
    assert new.exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 2 * size


def test_what_fp16_cannot_hold_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"the tensors b, y reach .* more than fp16 holds \(65504\)"):
        kept(everywhere(tmp_path), training_set(scale=1e6))
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_full_disk_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield b""

    monkeypatch.setattr(module, "_computed", full)
    with pytest.raises(CheckpointError, match=r"14\.8 kB of activations cannot be written: No space left on device"):
        kept(everywhere(tmp_path))
    assert list(tmp_path.iterdir()) == []
