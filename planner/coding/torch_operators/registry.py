"""Every operator that the torch graph knows, by ONNX name, and which inputs of them are settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from splitpoint.planner.coding.torch_operators.contract import Run
from splitpoint.planner.coding.torch_operators.elementwise import elementwise_operators
from splitpoint.planner.coding.torch_operators.layouts import layout_operators
from splitpoint.planner.coding.torch_operators.reductions import reduction_operators
from splitpoint.planner.coding.torch_operators.resizing import resize_operators
from splitpoint.planner.coding.torch_operators.windows import window_operators

__all__ = ["SETTINGS", "torch_operators"]


def __dir__() -> list[str]:
    return __all__


# Inputs, by number, that say how an operator works: constants there are read once, and are no weights.
SETTINGS: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys(("Expand", "OneHot", "Reshape", "Split", "Squeeze", "Tile", "TopK", "Trilu", "Unsqueeze"), (1,)),
    **{f"Reduce{name}": (1,) for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod")},
    **{f"Reduce{name}": (1,) for name in ("Sum", "SumSquare")},
    **{"BatchNormalization": (3, 4), "Clip": (1, 2), "CumSum": (1,), "Dropout": (1, 2), "Gather": (1,)},
    **{"Pad": (1, 2, 3), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4)},
}


def torch_operators() -> dict[str, Run]:
    """The operators by name; those of another domain than ONNX's own are not among them.

    Nor those that ONNX Runtime has no kernel for and writes as others (GroupNormalization, ...): of HardSwish, Mish and
    CastLike that depends on its version.
    """
    return {
        **elementwise_operators(),
        **layout_operators(),
        **reduction_operators(),
        **resize_operators(),
        **window_operators(),
    }
