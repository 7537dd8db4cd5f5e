"""``splitpoint what-if`` and ``splitpoint map``: flags to changes of a recorded plan, and the documents that result."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from splitpoint.planner.answers.ask import Changes
from splitpoint.planner.answers.payoff import Row, device_rows, speed_rows
from splitpoint.planner.answers.record import PlanRecord, make_record
from splitpoint.planner.answers.stored import read_record
from splitpoint.planner.answers.what_if import Range, what_if
from splitpoint.planner.deploy.file_names import CONFIG
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.output.documents.answers.map import MapDocument, map_document
from splitpoint.planner.output.documents.answers.what_if import WhatIfDocument, what_if_document
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.asked import asked_config, asked_needs, check_preference
from splitpoint.planner.setup.flags import FlagError, parse_quantities, parse_quantity, parse_range
from splitpoint.planner.setup.loading import Problem, load_problem
from splitpoint.planner.setup.trust import check_trusted
from splitpoint.profiles.library.catalog import list_profiles, load_device, load_link, load_server
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import BitRate, Decibel, PerSecond

__all__ = ["RATES_BIT_S", "SPEEDS", "Conditions", "MapAxes", "map_of_target", "what_if_of_plan"]


def __dir__() -> list[str]:
    return __all__


RATES_BIT_S = (5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8)  # columns of a map
STEPS = 12  # columns of a map over a range
SPEEDS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16)  # rows of a map by speed
HOST = "host"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What flags say is to be different from the plan, as text; None: nothing."""

    device: str | None = None
    server: str | None = None
    link: str | None = None
    server_load: str | None = None
    prefer: str | None = None
    confident: bool = False
    deadline_share: str | None = None
    limits: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # by field of `Need`

    def changes(self, record: PlanRecord) -> Changes:
        """The changes as values; raises `FlagError` and `ProfileError`."""
        check_preference(self.prefer)
        needs = asked_needs(self.limits, confident=self.confident, deadline_share=self.deadline_share)
        share = needs["deadline_share"]
        bounds = {name: needs.get(limit.field) for name, limit in LIMITS.items() if limit.field is not None}
        return Changes(
            device=_side(self.device, record, load_device),
            server=_side(self.server, record, load_server),
            link=None if self.link is None else load_link(self.link),
            server_load=parse_quantity(self.server_load, PerSecond, "--server-load"),
            limits={name: float(value) for name, value in bounds.items() if value is not None},
            confident=self.confident or None,
            deadline_share=None if share is None else float(share),
            prefer=self.prefer,
        )

    def words(self) -> list[str]:
        """The flags of ``splitpoint plan`` that ask under these conditions, but for the link."""
        given = {
            "device": self.device,
            "server": self.server,
            "server-load": self.server_load,
            "prefer": self.prefer,
            "deadline-share": self.deadline_share,
            **{name.replace("_", "-"): text for name, text in self.limits.items()},
        }
        pairs = [word for name, text in given.items() if text is not None for word in (f"--{name}", shlex.quote(text))]
        return [*pairs, *(["--confident"] if self.confident else [])]


def what_if_of_plan(
    directory: Path, conditions: Mapping[str, Any], *, link_rate: str | None, snr: str | None
) -> WhatIfDocument:
    """What the plan in `directory` would answer; raises `FlagError` and `ProfileError`."""
    stored, record = read_record(directory)
    asked, span = _conditions(conditions), _span(link_rate, snr)
    found = what_if(record, asked.changes(record), span)
    link = asked.link or record.link_name
    command = ["splitpoint", "plan", str(directory / CONFIG), "--link", "{link}", *asked.words(), "--out", "DIR"]
    return what_if_document(found, record, name=stored.file.model.name, span=span, link=link, command=command)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MapAxes:
    """What flags say of the rows and the columns of a map."""

    devices: str | None = None
    speeds: bool = False
    link_rates: str | None = None


def map_of_target(
    target: str,
    conditions: Mapping[str, Any],
    axes: MapAxes,
    *,
    data: str | None,
    trust_code: bool,
    search: Callable[[Problem], SearchResult],
) -> MapDocument:
    """The map of a plan directory, or of a configuration or a model with `data`, which `search` plans before.

    Raises `FlagError` and `ProfileError`.
    """
    if Path(target).is_dir():
        stored, record = read_record(Path(target))
        name = stored.file.model.name
    else:
        record, name = _plan(target, data, trust_code=trust_code, search=search)
    return _map(record, _conditions(conditions), axes, name=name)


def _plan(
    target: str, data: str | None, *, trust_code: bool, search: Callable[[Problem], SearchResult]
) -> tuple[PlanRecord, str]:
    """What planning `target` measures, and the network's name; no plan is written."""
    config = asked_config(target, data=data)
    check_trusted(target, config, trust_code=trust_code)
    problem = load_problem(config)
    result = search(problem)
    return make_record(result, result.decision.front), problem.graph.name


def _map(record: PlanRecord, asked: Conditions, axes: MapAxes, *, name: str) -> MapDocument:
    if axes.speeds and axes.devices is not None:
        raise FlagError("rows are devices, or speeds of one device", flag="--speeds")
    changes = asked.changes(record)
    rates = parse_quantities(axes.link_rates, BitRate, "--link-rates", steps=STEPS) or RATES_BIT_S
    rows: Sequence[Row]
    if axes.speeds:
        rows = speed_rows(record, changes, SPEEDS, rates)
    else:
        rows = device_rows(record, changes, _devices(axes.devices or asked.device, record), rates)
    return map_document(record, changes, rows, rates, name=name, speeds=axes.speeds)


def _conditions(given: Mapping[str, Any]) -> Conditions:
    """The values of options by name: conditions, and limits by the field of `Need`."""
    own = {field.name for field in dataclasses.fields(Conditions)}
    return Conditions(
        **{name: value for name, value in given.items() if name in own},
        limits={name: value for name, value in given.items() if name not in own},
    )


def _span(link_rate: str | None, snr: str | None) -> Range | None:
    if link_rate is not None and snr is not None:
        raise FlagError("give a rate or an SNR, not both", flag="--snr")
    rates, snrs = parse_range(link_rate, BitRate, "--link-rate"), parse_range(snr, Decibel, "--snr")
    if rates is not None:
        return Range(unit="bit/s", low=rates[0], high=rates[1])
    return None if snrs is None else Range(unit="dB", low=snrs[0], high=snrs[1])


def _side(name: str | None, record: PlanRecord, load: Callable[[str], Device]) -> Device | None:
    """The profile of that name; "host" is the machine on which the plan was measured."""
    return None if name is None else record.host if name == HOST else load(name)


def _devices(names: str | None, record: PlanRecord) -> list[Device]:
    """The devices of that name, or the plan's with every shipped one but the hundred of ncnn's tables."""
    if names is not None:
        found = [_side(name.strip(), record, load_device) for name in names.split(",")]
        return [device for device in found if device is not None]
    shipped = [entry.profile for entry in list_profiles() if entry.kind == "device"]
    devices = [profile for profile in shipped if isinstance(profile, Device) and profile.compute.kernels is None]
    return devices if record.device in devices else [record.device, *devices]
