"""The numbers that networks are trained with: bfloat16 where the CPU multiplies it, twice to four times as fast.

Weights that are trained, optimizers and losses stay float32. torch is imported inside functions.
"""

from __future__ import annotations

import contextlib
from typing import Literal

__all__ = ["fast_products", "product_type"]


def __dir__() -> list[str]:
    return __all__


def product_type() -> Literal["bfloat16", "float32"]:
    """What convolutions and matrix products of a training are computed in: part of every trained asset's key."""
    import torch

    found = torch.cpu.get_capabilities()
    return "bfloat16" if found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16") else "float32"


def fast_products() -> contextlib.AbstractContextManager[None]:
    """Within it convolutions and matrix products are of `product_type`; what they give is of that type, too."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=product_type() == "bfloat16")
