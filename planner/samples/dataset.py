"""Sample inputs and their three disjoint sets: calibration fits codecs, search ranks, report gives the plan's number.

A *group* contains inputs that are not independent (crops of one scene, frames of one video); a group is never divided.
Pictures stay uint8; the network's inputs are computed one at a time, when they are needed.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, PictureChanges, preprocess

__all__ = [
    "SETS",
    "Dataset",
    "NetworkInput",
    "NetworkInputs",
    "Sample",
    "SetName",
    "Split",
    "check_labels",
    "network_input",
    "split_three",
]


def __dir__() -> list[str]:
    return __all__


NetworkInput = Any  # an array, (1, ...) as a rule, or arrays by name: what `ModelGraph.feeds` takes
SetName = Literal["calibration", "search", "report"]
SETS: tuple[SetName, ...] = ("calibration", "search", "report")
SHARES = (0.2, 0.4, 0.4)  # static tables from 16 images are within 1 % of 200: search and report need the inputs more
LEAST_INPUTS = 4  # in each set; fewer give an interval from nearly 0 to nearly 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One input: a resized picture, (H, W, C) uint8; a tensor as the network takes it; or a tensor for each input."""

    name: str  # as messages name it: a file, "photos.npz[3]"
    group: str
    picture: NDArray[np.uint8] | None = None
    tensor: NDArray[Any] | None = None
    tensors: Mapping[str, NDArray[Any]] | None = None  # by the names of the network's inputs
    label: int | None = None  # index of the output that is right
    changes: PictureChanges | None = None  # what reading its file changed
    truth: NDArray[Any] | None = None  # a label that is no class: boxes (M, 6), a mask (H, W), tokens (L,), numbers

    def __post_init__(self) -> None:
        """Check that there is exactly one of picture, tensor and tensors."""
        if sum(held is not None for held in (self.picture, self.tensor, self.tensors)) != 1:
            raise ProfileError("a sample has either a picture or a tensor or tensors by name", at=self.name)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What it holds, by name; the one picture or tensor without a name."""
        if self.tensors is not None:
            return dict(self.tensors)
        return {"": np.asarray(self.picture if self.picture is not None else self.tensor)}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dataset:
    """Inputs of one network: every sample fits `spec`, and either all are labelled or none is."""

    spec: InputSpec
    samples: tuple[Sample, ...]
    classes: tuple[str, ...] | None = None  # names by output index
    source: str = ""  # the folder, file or function that it was read from
    skipped: tuple[str, ...] = ()  # damaged pictures that were left out

    def __post_init__(self) -> None:
        """Refuse data that cannot be planned with; the error names the sample."""
        if not self.samples:
            raise ProfileError("there are no inputs", at=self.source or None)
        shapes = {tuple((name, x.shape) for name, x in s.arrays.items()) for s in self.samples}
        for sample in self.samples:
            _check_sample(sample, self.spec, self.samples[0])
            if sample.label is not None and self.classes is not None and not 0 <= sample.label < len(self.classes):
                raise ProfileError(f"label {sample.label} of {len(self.classes)} classes", at=sample.name)
        if len(shapes) > 1:
            texts = sorted(", ".join(f"{name}{list(shape)}" for name, shape in row) for row in shapes)
            raise ProfileError(f"the tensors have different shapes: {'; '.join(texts[:3])}", at=self.source or None)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) indices of the right outputs, or None for unlabelled data."""
        if self.samples[0].label is None:
            return None
        return np.array([s.label for s in self.samples], dtype=np.int64)

    @property
    def labelled(self) -> bool:
        """Whether the inputs come with what is right: a class, boxes, a mask, tokens or numbers."""
        return self.samples[0].label is not None or self.samples[0].truth is not None

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) a number for the group of each sample, in order of first appearance."""
        code: dict[str, int] = {}
        return np.array([code.setdefault(s.group, len(code)) for s in self.samples], dtype=np.int64)

    @property
    def group_count(self) -> int:
        """Number of different groups (scenes)."""
        return len({s.group for s in self.samples})

    def select(self, indices: Sequence[int]) -> Dataset:
        """The samples at `indices`, in that order."""
        return dataclasses.replace(self, samples=tuple(self.samples[i] for i in indices))

    def sha256(self) -> str:
        """SHA-256 of the inputs, labels and groups, in order; names and paths are not part of it."""
        digest = hashlib.sha256()
        for sample in self.samples:
            for name, content in sample.arrays.items():
                about = f"{content.dtype.str} {content.shape} {sample.label} {sample.group}"
                digest.update(f"{name} {about}\n".encode() if name else f"{about}\n".encode())
                digest.update(np.ascontiguousarray(content).tobytes())
            if sample.truth is not None:
                digest.update(f"{sample.truth.dtype.str} {sample.truth.shape}\n".encode())
                digest.update(np.ascontiguousarray(sample.truth).tobytes())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split:
    """Three sets that share no group."""

    calibration: Dataset
    search: Dataset
    report: Dataset


def network_input(sample: Sample, spec: InputSpec) -> NetworkInput:
    """The network's input for a sample; arrays by name where the network has several."""
    if sample.tensors is not None:
        return sample.tensors
    return preprocess(sample.picture, spec) if sample.picture is not None else np.asarray(sample.tensor)


class NetworkInputs(Sequence[NetworkInput]):
    """The network's inputs of a dataset, one for each sample; each is computed when it is read, and not kept."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> NetworkInput: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[NetworkInput]: ...

    def __getitem__(self, index: int | slice) -> NetworkInput | Sequence[NetworkInput]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return network_input(self._dataset.samples[index], self._dataset.spec)


def check_labels(dataset: Dataset, outputs: int) -> None:
    """Raise `ProfileError` unless the labels are indices into the model's `outputs` scores."""
    labels = dataset.labels
    if labels is None:
        return
    if dataset.classes is not None and len(dataset.classes) != outputs:
        raise ProfileError(
            f"the model has {outputs} outputs, the data {len(dataset.classes)} classes",
            at=dataset.source or None,
            fix="put classes.txt into the data folder: one class a line, in the order of the model's outputs",
        )
    worst = int(labels.argmax())
    if labels[worst] >= outputs:
        raise ProfileError(f"label {labels[worst]} but {outputs} outputs (0..{outputs - 1})", at=_name(dataset, worst))


def split_three(
    dataset: Dataset,
    *,
    seed: int = 0,
    shares: tuple[float, float, float] = SHARES,
    counts: tuple[int, int, int] | None = None,
    assign: Mapping[str, SetName] | None = None,
) -> Split:
    """Calibration, search and report set: the groups divided, each class in the same proportions where labelled.

    `shares` are of the inputs; `counts` are numbers of groups and may leave groups unused; `assign` names the set of
    every group. The same seed and data give the same sets. Raises `ProfileError` when a set would be too small.
    """
    members: dict[str, list[int]] = {}
    for index, sample in enumerate(dataset.samples):
        members.setdefault(sample.group, []).append(index)
    if assign is not None:
        chosen = _assigned(dataset, members, assign)
    else:
        order = _by_stratum(dataset, members, seed)
        chosen = _diffuse(dataset, members, order, shares) if counts is None else _count(dataset, order, counts)
    parts = []
    for name in SETS:
        picked = sorted(i for group in chosen[name] for i in members[group])
        if len(picked) < LEAST_INPUTS:
            raise ProfileError(
                f"the {name} set would have {len(picked)} inputs, expected at least {LEAST_INPUTS}"
                f" (data: {len(dataset)} inputs in {len(members)} groups)",
                at=dataset.source or None,
                fix="add data, or name fewer inputs as one group",
            )
        parts.append(dataset.select(picked))
    return Split(calibration=parts[0], search=parts[1], report=parts[2])


def _name(dataset: Dataset, index: int) -> str:
    return dataset.samples[index].name


def _check_sample(sample: Sample, spec: InputSpec, first: Sample) -> None:
    if (sample.label is None) != (first.label is None) or (sample.truth is None) != (first.truth is None):
        raise ProfileError("some inputs have labels and some have none", at=sample.name)
    if sample.label is not None and sample.label < 0:
        raise ProfileError(f"label {sample.label} is below 0", at=sample.name)
    if sample.picture is not None:
        if spec.kind != "image":
            raise ProfileError("a picture, but the input block says kind: tensor", at=sample.name)
        expected = (*spec.height_width, spec.channels)
        if sample.picture.shape != expected or sample.picture.dtype != np.uint8:
            got = f"{sample.picture.shape} of {sample.picture.dtype}"
            raise ProfileError(f"expected a picture {expected} of uint8, got {got}", at=sample.name)
        return
    kind = "tensor" if sample.tensor is not None else "tensors"
    if spec.kind != kind:
        raise ProfileError(f"a sample of kind {kind}, but the input block says kind: {spec.kind}", at=sample.name)
    for name, tensor in sample.arrays.items():
        if kind == "tensor" and tensor.dtype != np.dtype(spec.dtype):
            got = f"{tensor.shape} of {tensor.dtype}"
            raise ProfileError(f"expected a tensor of {spec.dtype}, got {got}", at=sample.name)
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ProfileError(f"the tensor{f' {name}' if name else ''} holds NaN or infinity", at=sample.name)


def _assigned(
    dataset: Dataset, members: Mapping[str, list[int]], assign: Mapping[str, SetName]
) -> dict[SetName, list[str]]:
    unknown, missing = sorted(set(assign) - set(members)), sorted(set(members) - set(assign))
    if unknown or missing:
        text = f"unknown groups {unknown}" if unknown else f"groups in no set: {missing}"
        raise ProfileError(text, at=dataset.source or None, fix=f"the groups are {sorted(members)}")
    return {name: [group for group in members if assign[group] == name] for name in SETS}


def _by_stratum(dataset: Dataset, members: Mapping[str, list[int]], seed: int) -> list[str]:
    """All groups, those of one class next to each other; classes and the groups of a class in seeded order."""
    strata: dict[int, list[str]] = {}
    for group in sorted(members):
        labels = [dataset.samples[i].label for i in members[group]]
        commonest = collections.Counter(-1 if label is None else label for label in sorted(labels, key=str))
        strata.setdefault(commonest.most_common(1)[0][0], []).append(group)
    rng = random.Random(seed)
    keys = sorted(strata)
    rng.shuffle(keys)
    for key in keys:
        rng.shuffle(strata[key])
    return [group for key in keys for group in strata[key]]


def _diffuse(
    dataset: Dataset, members: Mapping[str, list[int]], order: Sequence[str], shares: Sequence[float]
) -> dict[SetName, list[str]]:
    """The groups of each set. In order, each group goes to the set that lacks most of its share.

    The groups of a class are next to each other in `order`, so that every class is divided in the same way.
    """
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ProfileError(f"shares must be three positive numbers that add up to 1, got {tuple(shares)}")
    if len(order) < 3:
        raise ProfileError(
            f"{len(order)} groups cannot make three disjoint sets, expected at least 3",
            at=dataset.source or None,
            fix="add data from other scenes",
        )
    chosen: dict[SetName, list[str]] = {name: [] for name in SETS}
    have, total = [0] * 3, 0
    for position, group in enumerate(order):
        size = len(members[group])
        total += size
        empty = [k for k in range(3) if not have[k]]
        # With few groups the last ones go to the sets that have none.
        allowed = empty if len(order) - position <= len(empty) else range(3)
        best = max(allowed, key=lambda k: (shares[k] * total - have[k], k))
        have[best] += size
        chosen[SETS[best]].append(group)
    return chosen


def _count(dataset: Dataset, order: Sequence[str], counts: Sequence[int]) -> dict[SetName, list[str]]:
    wanted = sum(counts)
    if len(counts) != 3 or min(counts) < 1 or wanted > len(order):
        raise ProfileError(
            f"counts {tuple(counts)} of {len(order)} groups", at=dataset.source or None, fix="give three counts >= 1"
        )
    quota = [*counts, len(order) - wanted]  # the last: left unused
    have = [0] * 4
    chosen: dict[SetName, list[str]] = {name: [] for name in SETS}
    for position, group in enumerate(order, start=1):
        open_ = [k for k in range(4) if have[k] < quota[k]]
        best = max(open_, key=lambda k: (quota[k] * position / len(order) - have[k], k))
        have[best] += 1
        if best < 3:
            chosen[SETS[best]].append(group)
    return chosen
