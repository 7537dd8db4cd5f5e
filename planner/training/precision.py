"""Where networks are trained, and in which numbers: on CUDA where it is there; in bfloat16 where that is faster.

Products in bfloat16 are two to four times as fast on CPUs that have them. Weights that are trained, optimizers and
losses stay float32. torch is imported inside functions.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["fast_products", "trained_in", "training_device"]


def __dir__() -> list[str]:
    return __all__


def training_device() -> torch.device:
    """CUDA's current device, or else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_products() -> contextlib.AbstractContextManager[None]:
    """Within it convolutions and matrix products are bfloat16 where the device has it, and so is what they give."""
    import torch

    device = training_device().type
    return torch.autocast(device, torch.bfloat16, enabled=_has_bfloat16(device))


def trained_in() -> str:
    """Device and type of products, such as "cpu bfloat16": they decide bits, and so every trained asset's key."""
    import torch

    device = training_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name} {'bfloat16' if _has_bfloat16(device.type) else 'float32'}"


def _has_bfloat16(device: str) -> bool:
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last one: Arm
