"""What weights are trained on: many inputs in one array, none of which is in the search or report set."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.training.batches import augmented
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, preprocess_batch

if TYPE_CHECKING:
    import torch

__all__ = ["LEAST_INPUTS", "TrainingSet", "as_training_set", "training_set"]


def __dir__() -> list[str]:
    return __all__


LEAST_INPUTS = 64  # batch statistics and gradients of fewer are noise
Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingSet:
    """Inputs to train on, and the class of each where there are labels."""

    content: Array  # pictures (N, H, W, C) uint8, or tensors (N, ...) as the network takes them
    labels: NDArray[np.int64] | None  # (N,)
    spec: InputSpec
    augment: bool = True  # pictures are moved and mirrored

    def __len__(self) -> int:
        return len(self.content)

    def inputs(self, rows: NDArray[np.intp], generator: np.random.Generator | None = None) -> torch.Tensor:
        """The network's inputs (B, ...) of those rows; with a `generator` pictures are moved and mirrored."""
        import torch

        chosen = self.content[rows]
        if self.spec.kind != "image":
            return torch.from_numpy(np.ascontiguousarray(chosen))
        if self.augment and generator is not None:
            chosen = augmented(chosen, generator)
        return torch.from_numpy(preprocess_batch(np.ascontiguousarray(chosen), self.spec))

    def sha256(self) -> str:
        """SHA-256 of inputs and labels in order, and of how they are varied."""
        digest = hashlib.sha256(f"{self.content.dtype.str} {self.content.shape} {self.augment}\n".encode())
        digest.update(np.ascontiguousarray(self.content).data)
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()


def training_set(data: Dataset, *, apart: Sequence[Dataset], augment: bool = True) -> tuple[TrainingSet, list[str]]:
    """The inputs of `data` that are in none of the sets `apart`, and notes on those that were left out.

    A network that was trained on the inputs that judge it seems better than it is. Raises `ProfileError` for data of
    several tensors an input, and for fewer than 64 inputs.
    """
    if data.samples[0].tensors is not None:
        raise ProfileError(
            "training needs data of one tensor or picture an input, these have several", at=data.source or None
        )
    judging = {_content_sha256(sample) for other in apart for sample in other.samples}
    kept = [sample for sample in data.samples if _content_sha256(sample) not in judging]
    left = len(data) - len(kept)
    notes = [f"{left} training inputs are in the search or report set, too, and were left out"] if left else []
    if len(kept) < LEAST_INPUTS:
        raise ProfileError(
            f"there are {len(kept)} inputs to train on, at least {LEAST_INPUTS} are needed",
            at=data.source or None,
            fix="give a larger set as $.train.source: a folder of class folders, an .npz or file.py:function",
        )
    return as_training_set(dataclasses.replace(data, samples=tuple(kept)), augment=augment), notes


def as_training_set(data: Dataset, *, augment: bool = False) -> TrainingSet:
    """All inputs of `data`, of one tensor or picture each, in one array."""
    content = np.concatenate([_array(sample) for sample in data.samples])
    labels = [sample.label for sample in data.samples if sample.label is not None]
    truth = np.array(labels, np.int64) if len(labels) == len(data) else None
    return TrainingSet(content=content, labels=truth, spec=data.spec, augment=augment)


def _array(sample: Sample) -> Array:
    """(1, ...): a picture or a tensor of a batch of one."""
    return sample.picture[None] if sample.picture is not None else np.asarray(sample.tensor)


def _content_sha256(sample: Sample) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(_array(sample)).data).digest()
