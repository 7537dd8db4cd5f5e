"""What the chosen device, server and link allow: limits of the device, and figures that a requirement needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from splitpoint.planner.cost.memory import stored_scale
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import LIMITS, Figure
from splitpoint.planner.limits.objectives import find_objective
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.units import format_bytes

__all__ = ["bind", "check_figures", "with_device_limits"]


def __dir__() -> list[str]:
    return __all__


def bind(needs: Requirements, config: PlanConfig, graph: ModelGraph, link: Link) -> Requirements:
    """`needs` with the device's own limits where they are tighter; "host" has no limits, power figures or price.

    Raises `ProfileError` when a requirement or an objective needs figures that a profile does not have, and when the
    model's input alone is larger than the device's memory for the head.
    """
    device = None if config.device == "host" else load_device(config.device)
    server = None if config.server == "host" else load_server(config.server)
    profiles = {"device": (config.device, device), "server": (config.server, server), "link": (config.link, link)}
    check_figures(needs, config.objectives, config.prefer, profiles)
    if device is None:
        return needs
    _check_input_fits(device, config.device, graph)
    return with_device_limits(needs, device)


def check_figures(
    needs: Requirements, objectives: Sequence[str], prefer: str, profiles: Mapping[str, tuple[str, object | None]]
) -> None:
    """Raise `ProfileError` when a requirement, an objective or the preference is of figures that a profile lacks.

    `profiles` has the name and the profile of the "device", the "server" and the "link"; None: this host.
    """
    for bound in needs.bounds:
        limit = LIMITS[bound.limit]
        _check_known(limit.name, limit.figures, profiles, at=f"$.need.{limit.field}")
    for i, name in enumerate(objectives):
        _check_known(name, find_objective(name, at=f"$.objectives[{i}]").figures, profiles, at=f"$.objectives[{i}]")
    _check_known(prefer, PREFERENCES[prefer].figures, profiles, at="$.prefer")


def with_device_limits(needs: Requirements, device: Device) -> Requirements:
    """`needs` with the device's own limits where they are tighter."""
    bounds = {bound.limit: bound for bound in needs.bounds}
    for name, limit in LIMITS.items():
        allowed = None if limit.of_device is None else limit.of_device(device)
        if allowed is not None and (name not in bounds or allowed <= bounds[name].value):
            bounds[name] = Bound(limit=name, value=allowed, device=device.name)
    return msgspec.structs.replace(needs, bounds=tuple(bounds[name] for name in LIMITS if name in bounds))


def _check_known(
    name: str, figures: Sequence[Figure], profiles: Mapping[str, tuple[str, object | None]], *, at: str
) -> None:
    """Raise `ProfileError` for a quantity that no point could have, because a profile lacks its figures."""
    for kind, sections in figures:
        called, profile = profiles[kind]
        if all(getattr(profile, section, None) is None for section in sections):
            raise ProfileError(
                f"{name} is not known: the {kind} {called!r} has no `{sections[0]}`",
                at=at,
                fix=f"give a {kind} profile of your own with `{sections[0]}` (0 where it costs nothing)",
            )


def _check_input_fits(device: Device, called: str, graph: ModelGraph) -> None:
    limit = device.head_limit_bytes
    least = round(sum(tensor.bytes for tensor in graph.inputs) * stored_scale(device, graph))
    if limit is not None and limit < least:
        field = "ram_bytes" if device.memory.model_bytes is None else "model_bytes"
        raise ProfileError(
            f"{device.name} has {format_bytes(limit)} for a head, and the model's input alone takes"
            f" {format_bytes(least)}",
            at=f"{called}: $.memory.{field}",
            fix="choose another device, or a smaller input",
        )
