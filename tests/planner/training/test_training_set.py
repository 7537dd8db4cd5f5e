"""Inputs to train on: read as the network takes them, and none that judges."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.training.data import training_set
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, preprocess

IMAGE = msgspec.convert({"kind": "image", "size": [8, 12], "mean": [100, 120, 140], "std": 60}, InputSpec)
TENSOR = msgspec.convert({"kind": "tensor"}, InputSpec)


def pictures(count: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset(
        spec=IMAGE,
        samples=tuple(
            Sample(name=f"{i}", group=f"{i}", picture=rng.integers(0, 256, (8, 12, 3), np.uint8), label=i % 5)
            for i in range(count)
        ),
    )


def test_inputs_are_those_of_the_network() -> None:
    data = pictures(80)
    made, notes = training_set(data, apart=[])
    assert notes == []
    assert made.labels is not None
    assert made.labels.tolist() == [i % 5 for i in range(80)]
    rows = np.array([3, 70, 3])
    plain = made.inputs(rows)
    for row, x in zip(rows, plain.numpy(), strict=True):
        picture = data.samples[row].picture
        assert picture is not None
        assert (x == preprocess(picture, IMAGE)[0]).all()
    moved = made.inputs(rows, np.random.default_rng(0))
    assert moved.shape == plain.shape
    assert (moved != plain).any()
    still = dataclasses.replace(made, augment=False)
    assert (still.inputs(rows, np.random.default_rng(0)) == plain).all()
    assert still.sha256() != made.sha256() == training_set(data, apart=[])[0].sha256()


def test_tensors_are_taken_as_they_are() -> None:
    values = np.random.default_rng(0).normal(size=(70, 1, 6)).astype(np.float32)
    data = Dataset(
        spec=TENSOR, samples=tuple(Sample(name=f"{i}", group=f"{i}", tensor=x) for i, x in enumerate(values))
    )
    made, _ = training_set(data, apart=[])
    assert made.labels is None
    assert (made.inputs(np.array([5, 1]), np.random.default_rng(0)).numpy() == values[[5, 1], 0]).all()


def test_what_judges_is_not_trained_on() -> None:
    data = pictures(100)
    made, notes = training_set(data, apart=[data.select([0, 1]), data.select([99]), pictures(10, seed=1)])
    assert notes == ["3 training inputs are in the search or report set, too, and were left out"]
    assert len(made) == 97
    assert made.labels is not None
    assert made.labels[0] == 2
    with pytest.raises(ProfileError, match="there are 63 inputs to train on, at least 64 are needed"):
        training_set(pictures(65), apart=[pictures(65).select([0, 1])])


def test_inputs_of_several_tensors_are_refused() -> None:
    sample = Sample(name="a", group="a", tensors={"x": np.zeros((1, 2), np.float32), "y": np.zeros((1,), np.float32)})
    spec = msgspec.convert({"kind": "tensors"}, InputSpec)
    with pytest.raises(ProfileError, match="several"):
        training_set(Dataset(spec=spec, samples=(sample,) * 70), apart=[])
