"""A model and data as Python has them, under names that the rest of the planner reads: files and importable objects."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.setup.checks import GIVEN_FROM_PYTHON
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.user_code import call_user_code

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Data", "Model", "named_data", "named_model"]


def __dir__() -> list[str]:
    return __all__


Model: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | nn.Module"
Arrays = Array | Mapping[str, Array] | tuple[Array, Array]  # inputs; arrays by name; inputs and labels
Data = str | os.PathLike[str] | Arrays | Dataset | Sequence[Sample] | Callable[[], Any]

_numbers = itertools.count(1)  # of modules that hold what was given
UNNAMED = "model"


@contextlib.contextmanager
def named_model(model: Model | Any) -> Iterator[str]:
    """The source of `model`, as a configuration names it, within the block.

    A path or "file.py:factory" is itself, an `onnx.ModelProto` becomes a file, a torch module is importable meanwhile.
    Raises `ProfileError` for anything else.
    """
    if isinstance(model, str | os.PathLike):
        yield os.fspath(model)
    elif isinstance(model, onnx.ModelProto):
        with tempfile.TemporaryDirectory(prefix=GIVEN_FROM_PYTHON) as folder:
            path = Path(folder, f"{_plain(model.graph.name)}.onnx")
            onnx.save_model(model, path, save_as_external_data=model.ByteSize() > 2**30)
            yield str(path)
    elif callable(getattr(model, "forward", None)) and callable(getattr(model, "state_dict", None)):
        with _importable(_plain(type(model).__name__), model) as name:
            yield name
    else:
        raise ProfileError(
            f"expected a model, got {type(model).__name__}",
            fix='a path, "file.py:factory", an onnx.ModelProto or a torch.nn.Module',
        )


@contextlib.contextmanager
def named_data(data: Data | None) -> Iterator[str | None]:
    """The source of `data`, as a configuration names it, within the block; None for None.

    A folder, an .npz file or "file.py:function" is itself. An array is the inputs (or uint8 pictures), a pair is inputs
    and labels, a mapping is what an .npz file would have. A function gives any of those, a `Dataset` or samples.
    Raises `ProfileError` for anything else.
    """
    if callable(data) and not isinstance(data, str | os.PathLike | Dataset):
        data = call_user_code(data, at=getattr(data, "__qualname__", type(data).__name__))
    if data is None or isinstance(data, str | os.PathLike):
        yield None if data is None else os.fspath(data)
        return
    if isinstance(data, Dataset) or (isinstance(data, Sequence) and data and isinstance(data[0], Sample)):
        with _importable("data", lambda: data) as name:
            yield name
        return
    with tempfile.TemporaryDirectory(prefix=GIVEN_FROM_PYTHON) as folder:
        path = Path(folder, "data.npz")
        arrays: dict[str, Any] = {**_arrays(data)}
        np.savez(path, **arrays)
        yield str(path)


def _arrays(data: Any) -> dict[str, Array]:
    """The arrays of an .npz file."""
    if isinstance(data, Mapping):
        return {str(name): np.asarray(values) for name, values in data.items()}
    if isinstance(data, tuple) and len(data) == 2:
        return {"x": np.asarray(data[0]), "y": np.asarray(data[1])}
    if isinstance(data, np.ndarray) or hasattr(data, "__array__"):
        return {"x": np.asarray(data)}
    raise ProfileError(
        f"expected data, got {type(data).__name__}",
        fix="a folder, an .npz file, an array, (inputs, labels), arrays by name, or a function that returns them",
    )


@contextlib.contextmanager
def _importable(name: str, value: object) -> Iterator[str]:
    """Let "module:name" give `value` within the block."""
    module = ModuleType(f"{GIVEN_FROM_PYTHON}{next(_numbers)}")
    setattr(module, name, value)
    sys.modules[module.__name__] = module
    try:
        yield f"{module.__name__}:{name}"
    finally:
        del sys.modules[module.__name__]


def _plain(name: str) -> str:
    """`name` as a file and as Python take it."""
    return re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_0123456789")[:60] or UNNAMED
