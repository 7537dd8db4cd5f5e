"""The configuration of a plan from what the command line says: a file or a model, and the flags beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from splitpoint.planner.limits.need import Share
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.setup.config import (
    DataConfig,
    FrameRate,
    PlanConfig,
    SamplerName,
    SharedBy,
    override,
    read_config,
)
from splitpoint.planner.setup.flags import (
    FlagError,
    parse_bound,
    parse_constants,
    parse_quantities,
    parse_quantity,
    parse_shapes,
    parse_task,
)
from splitpoint.profiles.units import PerSecond, PositiveSeconds

__all__ = ["asked_config", "asked_needs", "check_preference"]


def __dir__() -> list[str]:
    return __all__


def asked_config(
    target: str,
    *,
    data: str | None = None,
    labels: str | None = None,
    skip_damaged: bool = False,
    task: str | None = None,
    decode: str | None = None,
    score: float | None = None,
    outputs: Sequence[str] | None = None,
    metric: str | None = None,
    device: str | None = None,
    server: str | None = None,
    measured_device: str | None = None,
    measured_server: str | None = None,
    link: str | None = None,
    server_load: str | None = None,
    server_devices: int | None = None,
    device_rate: str | None = None,
    sizes: Sequence[str] | None = None,
    constants: Sequence[str] | None = None,
    prefer: str | None = None,
    needs: Mapping[str, float | bool | None] | None = None,
    evaluations: int | None = None,
    seed: int | None = None,
    sampler: SamplerName | None = None,
    accept_baseline: bool = False,
    threads: int | None = None,
    train_minutes: float | None = None,
) -> PlanConfig:
    """The configuration in the file `target`, or of the model `target` with `data`, changed by the flags.

    A flag that is None or false changes nothing. Raises `FlagError` and `ProfileError`.
    """
    check_preference(prefer)
    if target.endswith((".yaml", ".yml")):
        config = read_config(Path(target))
        if data is not None:
            config = override(config, data=DataConfig(source=data, skip_damaged=config.data.skip_damaged))
    elif data is None:
        raise FlagError("a model needs sample inputs: --data DIR", flag="--data")
    else:
        config = PlanConfig(model=target, data=DataConfig(source=data))
    if train_minutes is not None and config.train is None:
        raise FlagError("nothing is trained: the configuration has no train: with a source", flag="--train-minutes")
    load = parse_quantity(server_load, PerSecond, "--server-load")
    shared_by = _shared_by(config.shared_by, server_devices, device_rate)
    if load is not None:
        if shared_by != config.shared_by:
            raise FlagError("the server's load is given by --server-devices, too", flag="--server-load")
        config = msgspec.structs.replace(config, shared_by=None)
    elif shared_by != config.shared_by:
        config = msgspec.structs.replace(config, server_load=0.0, shared_by=shared_by)
    options = {"decode": decode, "score": score, "outputs": None if outputs is None else tuple(outputs)}
    return override(
        config,
        task=parse_task(config.task, task, options),
        metric=metric,
        need=dict(needs or {}),
        data={"labels": labels, "skip_damaged": skip_damaged or None},
        train=None if train_minutes is None else {"budget": train_minutes},
        search={"evaluations": evaluations, "seed": seed, "sampler": sampler},
        device=device,
        server=server,
        measured_device=parse_quantities(measured_device, PositiveSeconds, "--measured-device", steps=2),
        measured_server=parse_quantities(measured_server, PositiveSeconds, "--measured-server", steps=2),
        link=link,
        threads=threads,
        prefer=prefer,
        accept_baseline=accept_baseline or None,
        server_load=load,
        shapes=parse_shapes(sizes),
        inputs={**config.inputs, **parse_constants(constants)} or None,
    )


def _shared_by(config: SharedBy | None, devices: int | None, rate: str | None) -> SharedBy | None:
    """The devices of one server by the flags, each of which may be left to the configuration."""
    frame_rate = parse_quantity(rate, FrameRate, "--device-rate")
    if devices is None and frame_rate is None:
        return config
    if devices is None and config is None:
        raise FlagError("how many devices send this many frames a second?", flag="--server-devices")
    if frame_rate is None and config is None:
        raise FlagError("how many frames a second does each device send, such as 5/s?", flag="--device-rate")
    if config is None:
        assert devices is not None  # as asked above
        assert frame_rate is not None
        return SharedBy(devices=devices, frame_rate=frame_rate)
    return override(config, devices=devices, frame_rate=frame_rate)


def asked_needs(
    limits: Mapping[str, str | None], *, confident: bool, deadline_share: str | None
) -> dict[str, float | bool | None]:
    """What flags ask for, by the fields of `Need`; None where a flag was not given. Raises `FlagError`."""
    return {
        **{name: parse_bound(text, name) for name, text in limits.items()},
        "confident": confident or None,
        "deadline_share": parse_quantity(deadline_share, Share, "--deadline-share"),
    }


def check_preference(prefer: str | None) -> None:
    """Raise `FlagError` for a preference that does not exist."""
    if prefer is not None and prefer not in PREFERENCES:
        raise FlagError(f"expected one of {', '.join(PREFERENCES)}, got {prefer!r}", flag="--prefer")
