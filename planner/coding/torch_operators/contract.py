"""What a torch operator is: a function of an ONNX node's inputs and attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Attributes", "Run", "UnsupportedError", "multiplied", "numbers", "text"]


def __dir__() -> list[str]:
    return __all__


Attributes = dict[Any, Any]  # by name; settings, constant inputs that are no weights, also by the input's number
Run = Callable[[list[Any], Attributes], Any]  # inputs (None where left out), attributes -> a tensor or a tuple of them


class UnsupportedError(ValueError):
    """An operator is known, but not with these attributes."""


def numbers(v: Sequence[Any], i: int, a: Attributes, name: str = "") -> list[Any]:
    """The numbers of input `i`, or of the attribute `name` that older operator sets have instead; [] without both."""
    if i in a:
        values: list[Any] = a[i]
        return values
    if len(v) > i and v[i] is not None:
        return [v[i].item()] if v[i].ndim == 0 else list(v[i].tolist())
    return list(a.get(name, []))


def text(a: Attributes, name: str, default: str) -> str:
    """A text attribute."""
    value = a.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def multiplied(product: Callable[..., Any], *tensors: Any) -> Any:
    """The product of float32 tensors, in the type that autocast asks for, as float32: vmap hides it from torch."""
    import torch

    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device) or tensors[0].dtype != torch.float32:
        return product(*tensors)
    asked = torch.get_autocast_dtype(device)
    return product(*(None if tensor is None else tensor.to(asked) for tensor in tensors)).to(torch.float32)
