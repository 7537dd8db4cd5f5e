"""Samples of an .npz file: one array for each input, types that change without a value, labels beside input names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.samples.npz import load_npz
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.input_shapes import DeclaredInput
from splitpoint.profiles.network.inputs import InputSpec

SEVERAL = InputSpec(kind="tensors")
INPUTS = (
    DeclaredInput(name="ids", dims=("batch", "seq"), dtype="int64"),
    DeclaredInput(name="state", dims=(2, "batch", 3), dtype="float32"),
    DeclaredInput(name="loud", dims=(), dtype="bool"),
)


def arrays(count: int = 4) -> dict[str, Any]:
    return {
        "ids": np.arange(count * 5).reshape(count, 5),
        "state": np.arange(count * 6, dtype=np.float32).reshape(count, 2, 1, 3),
        "loud": np.arange(count) % 2 == 0,
    }


def saved(folder: Path, **given: Any) -> Path:
    np.savez(folder / "data.npz", **given)
    return folder / "data.npz"


def test_each_input_has_its_array_and_gets_a_batch_axis_only_where_it_lacks_one(tmp_path: Path) -> None:
    data = load_npz(
        saved(tmp_path, **arrays(), y=np.array([3, 1, 0, 2]), group=np.array(list("aabb"))), SEVERAL, inputs=INPUTS
    )
    assert data.labels is not None
    assert data.labels.tolist() == [3, 1, 0, 2]
    assert data.group_count == 2
    x = NetworkInputs(data)[1]
    assert {name: array.shape for name, array in x.items()} == {"ids": (1, 5), "state": (2, 1, 3), "loud": ()}
    assert x["ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert x["loud"].dtype == bool
    assert not x["loud"]


def test_integers_and_truth_values_change_their_type_when_no_value_changes(tmp_path: Path) -> None:
    given = arrays()
    path = saved(
        tmp_path,
        ids=given["ids"].astype(np.int16),
        state=given["state"].astype(np.float64),
        loud=np.array([0, 1, 1, 0]),
    )
    x = NetworkInputs(load_npz(path, SEVERAL, inputs=INPUTS))[1]
    assert {name: str(array.dtype) for name, array in x.items()} == {"ids": "int64", "state": "float32", "loud": "bool"}
    path = saved(tmp_path, **(given | {"loud": np.array([0, 1, 2, 0])}))
    with pytest.raises(ProfileError, match="values from 0 to 2 do not fit the input's type bool"):
        load_npz(path, SEVERAL, inputs=INPUTS)


def test_faults_name_the_arrays(tmp_path: Path) -> None:
    whole = arrays()
    faults: dict[str, dict[str, Any]] = {
        r"expected arrays one for each input: ids, state, loud, y, group, got \['ids', 'state'\]": {"loud": None},
        r"got \['ids', 'loud', 'other', 'state'\]": {"other": np.zeros(4)},
        r"state has shape \(3, 2, 1, 3\)": {"state": whole["state"][:3]},
        "y must be numbers": {"y": np.array(list("abcd"))},
        "the tensor state holds NaN": {"state": np.full((4, 2, 1, 3), np.nan, np.float32)},
    }
    for what, change in faults.items():
        given = {name: array for name, array in (whole | change).items() if array is not None}
        with pytest.raises(ProfileError, match=what):
            load_npz(saved(tmp_path, **given), SEVERAL, inputs=INPUTS)


def test_arrays_of_constant_and_unread_inputs_are_not_looked_at(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays(), sr=np.array(16000))
    assert len(load_npz(path, SEVERAL, inputs=INPUTS, ignored={"sr"})) == 4


def test_labels_and_groups_stand_beside_inputs_of_their_names(tmp_path: Path) -> None:
    inputs = tuple(DeclaredInput(name=name, dims=(1, 2), dtype="float32") for name in ("x", "y", "group"))
    x = np.zeros((4, 2), np.float32)
    path = saved(tmp_path, x=x, y=x + 1, group=x + 2, labels=np.array([0, 1, 1, 0]), groups=np.array(list("abca")))
    data = load_npz(path, SEVERAL, inputs=inputs)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1, 0]
    assert data.group_count == 3
    assert float(NetworkInputs(data)[0]["y"][0, 0]) == 1


def test_the_one_input_may_have_its_own_name_or_be_x(tmp_path: Path) -> None:
    entry = (DeclaredInput(name="ids", dims=("N", "seq"), dtype="int64"),)
    spec = InputSpec(kind="tensor", dtype="int64")
    for name in ("ids", "x"):
        path = saved(tmp_path, **{name: np.arange(12).reshape(4, 3)})
        assert NetworkInputs(load_npz(path, spec, inputs=entry))[3].tolist() == [[9, 10, 11]]


def test_a_network_without_a_batch_axis_takes_rows_as_they_are(tmp_path: Path) -> None:
    entry = (DeclaredInput(name="x", dims=("seq", 1, 3), dtype="float32"),)
    path = saved(tmp_path, x=np.zeros((4, 7, 1, 3), np.float32))
    assert NetworkInputs(load_npz(path, InputSpec(kind="tensor"), inputs=entry))[0].shape == (7, 1, 3)


def test_the_hash_follows_the_names_of_the_inputs(tmp_path: Path) -> None:
    inputs = tuple(DeclaredInput(name=name, dims=(1, 2), dtype="float32") for name in "ab")
    x, z = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
    first = load_npz(saved(tmp_path, a=x, b=z), SEVERAL, inputs=inputs).sha256()
    assert load_npz(saved(tmp_path, a=z, b=x), SEVERAL, inputs=inputs).sha256() != first
    assert load_npz(saved(tmp_path, b=z, a=x), SEVERAL, inputs=inputs).sha256() == first
