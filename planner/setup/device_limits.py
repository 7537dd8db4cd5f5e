"""What the chosen device, server and link allow: memory limits that bind unasked, and figures that a need relies on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from splitpoint.planner.deploy.schema import Requirements
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.machine.device import PRECISION_BYTES, Device
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.units import format_bytes

__all__ = ["bind", "stored_scale"]


def __dir__() -> list[str]:
    return __all__


QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv"})


def bind(needs: Requirements, config: PlanConfig, graph: ModelGraph, link: Link) -> Requirements:
    """`needs` with the device's memory and flash; "host" has neither limits, power figures nor a price.

    Raises `ProfileError` when a need or objective relies on figures that a profile does not have, and when the
    device cannot hold even the model's input.
    """
    device = None if config.device == "host" else load_device(config.device)
    server = None if config.server == "host" else load_server(config.server)
    wanted = {"$.need.max_energy": needs.max_energy_j is not None, "$.need.max_cost": needs.max_usd is not None}
    wanted |= {f"$.objectives[{i}]": name in ("energy", "cost") for i, name in enumerate(config.objectives)}
    _known(config, wanted, device, server, link)
    if device is None:
        return needs
    limit = device.head_limit_bytes
    least = round(sum(tensor.bytes for tensor in graph.inputs) * stored_scale(device, graph))
    if limit is not None and limit < least:
        field = "ram_bytes" if device.memory.model_bytes is None else "model_bytes"
        raise ProfileError(
            f"{device.name} has {format_bytes(limit)} for a head, and every head holds the input of"
            f" {format_bytes(least)}",
            at=f"{config.device}: $.memory.{field}",
            fix="another device, or a smaller input",
        )
    return msgspec.structs.replace(
        needs, device=device.name, device_memory_bytes=limit, device_flash_bytes=device.memory.flash_bytes
    )


def stored_scale(device: Device, graph: ModelGraph) -> float:
    """Bytes on the device for a byte of the graph: an int8 device holds an fp32 graph in a quarter.

    A graph that is quantized already counts its own bytes.
    """
    if any(node.op_type in QUANTIZED for node in graph.nodes):
        return 1.0
    own = max((np.dtype(tensor.dtype).itemsize for tensor in graph.outputs), default=4)
    return min(1.0, PRECISION_BYTES[device.runtime.precision] / own)


def _known(
    config: PlanConfig, wanted: Mapping[str, bool], device: Device | None, server: Device | None, link: Link
) -> None:
    """Refuse an energy or cost limit that could never be checked."""
    for at, asked in wanted.items():
        if not asked:
            continue
        energy = "energy" in at or (at.startswith("$.obj") and config.objectives[int(at[13:-1])] == "energy")
        have = [
            ("device", config.device, "power", energy and (device is None or device.power is None)),
            ("link", config.link, "radio", energy and link.radio is None),
            ("server", config.server, "price", not energy and (server is None or server.price is None)),
            ("link", config.link, "usd_byte", not energy and link.usd_byte is None and link.usd_message is None),
        ]
        for kind, name, section, missing in have:
            if missing:
                what = "energy" if energy else "cost"
                raise ProfileError(
                    f"{what} is not known: the {kind} {name!r} has no `{section}`",
                    at=at,
                    fix=f"give a {kind} profile of your own with `{section}` (0 where it costs nothing)",
                )
