"""Where NaN or infinity in a network's outputs comes from: a pure function of which tensors hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.network.model import Node

__all__ = ["Origin", "find_origin", "name_of_values"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The first tensor with values that are not finite on the way to an output, and the node that makes it."""

    tensor: str
    values: str  # "NaN" or "infinity"
    node: str
    op_type: str
    infinite_inputs: tuple[str, ...]  # its inputs that hold infinity, where it makes NaN of them


def name_of_values(array: NDArray[Any]) -> str | None:
    """ "NaN" or "infinity" when a float tensor holds it (NaN first), else None."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    return "NaN" if np.isnan(array).any() else "infinity"


def find_origin(nodes: Sequence[Node], values: Mapping[str, str | None], output: str) -> Origin | None:
    """Follow `output` back through nodes whose inputs hold the same; `values` is `name_of_values` by tensor.

    An infinity beside the way (the -inf of an attention mask) is no origin of NaN by itself: NaN is followed to the
    node that makes the first of it, and infinity to the node that makes the first infinity.
    """
    makers = {name: node for node in nodes for name in node.outputs}
    wanted, tensor = values.get(output), output
    while tensor in makers:
        node = makers[tensor]
        above = next((name for name in node.inputs if values.get(name) == wanted and name in makers), None)
        if above is None:
            return Origin(
                tensor=tensor,
                values=str(wanted),
                node=node.name,
                op_type=node.op_type,
                infinite_inputs=tuple(name for name in node.inputs if values.get(name) == "infinity"),
            )
        tensor = above
    return None
