"""A recorded plan asked again: under other limits, on other machines, over another link."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from splitpoint.planner.answers.prices import Prices, find_side
from splitpoint.planner.answers.question import Question
from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import FIGURES, LIMITS
from splitpoint.planner.setup.device_limits import check_figures, with_device_limits
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link.types import Link
from splitpoint.profiles.machine.device import Device

__all__ = ["Changes", "ask"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What is to be different from the plan; None and an empty mapping: nothing."""

    device: Device | None = None
    server: Device | None = None
    link: Link | None = None
    server_load: float | None = None
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)  # limit -> bound
    confident: bool | None = None
    deadline_share: float | None = None
    prefer: str | None = None


def ask(record: PlanRecord, changes: Changes) -> tuple[Prices, Question]:
    """The measured points priced under `changes`, and the question that they answer.

    Raises `ProfileError` for limits that this data or these profiles have no figures of.
    """
    device = find_side(record, changes.device, of="device")
    server = find_side(record, changes.server, of="server")
    link = changes.link or record.link
    needs = _needs(record, changes)
    prefer = changes.prefer or record.aim.prefer
    profiles = {
        "device": (device.device.name, device.known),
        "server": (server.device.name, server.known),
        "link": (link.name, link),
    }
    check_figures(needs, record.objectives, prefer, profiles)
    channel = Channel(
        link=link,
        share=needs.deadline_share,
        server_load=record.server_load if changes.server_load is None else changes.server_load,
        seed=record.seed,
    )
    prices = Prices(record, device, server, channel)
    question = Question(
        points=prices.points(),
        device=device.device,
        server=server.device,
        channel=channel,
        needs=needs if device.known is None else with_device_limits(needs, device.known),
        objectives=record.objectives,
        aim=Aim(prefer=prefer, errors=prices.errors),
    )
    return prices, question


def _needs(record: PlanRecord, changes: Changes) -> Requirements:
    """What was asked for, with the changes; without the device's own limits."""
    if "drop" in changes.limits and record.against != "labels":
        raise ProfileError(
            "max_drop needs labels, and the plan was made without",
            at="--max-drop",
            fix="use --min-agreement (with the unsplit network's answers)",
        )
    for name in FIGURES:
        if name in changes.limits and name not in record.figures:
            raise ProfileError(f"this plan's metric has no {name}", at=f"$.need.{LIMITS[name].field}", fix="remove it")
    bounds = {bound.limit: bound for bound in record.asked.bounds}
    bounds |= {name: Bound(limit=name, value=value) for name, value in changes.limits.items()}
    share = record.asked.deadline_share if changes.deadline_share is None else changes.deadline_share
    if share is not None and "latency" not in bounds:
        raise ProfileError("a share of cases needs a deadline", at="--deadline-share", fix="add --deadline")
    return msgspec.structs.replace(
        record.asked,
        bounds=tuple(bounds[name] for name in LIMITS if name in bounds),
        confident=record.asked.confident if changes.confident is None else changes.confident,
        deadline_share=share,
    )
