"""``splitpoint profile`` and ``splitpoint calibrate``: a model, or this machine, measured, as one document.

Of a model with data the tensors at its cuts are measured, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.output.documents.calibrate import CalibrateDocument, calibrate_document, fitted_document
from splitpoint.planner.output.documents.profile import ModuleRow, ProfileDocument, profile_document
from splitpoint.planner.output.documents.tensors import tensors_part
from splitpoint.planner.profiling import tensors
from splitpoint.planner.profiling.calibration import calibrate
from splitpoint.planner.profiling.fitted_device import fit_device
from splitpoint.planner.profiling.latency_table import read_latencies
from splitpoint.planner.profiling.model_profile import obtain_profile
from splitpoint.planner.profiling.module_counts import count_torch_source
from splitpoint.planner.profiling.provider_timing import time_with_provider
from splitpoint.planner.profiling.published import Kind
from splitpoint.planner.setup.checks import check_data_source, check_model_source
from splitpoint.planner.setup.inputs import load_source
from splitpoint.planner.setup.loading import default_threads
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.files.elsewhere import write_yaml_somewhere
from splitpoint.profiles.files.writable import check_file_writable
from splitpoint.profiles.machine.device import Runtime
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.network.runtime import CPU, Provider
from splitpoint.profiles.network.torch_model import is_torch_spec

__all__ = ["calibrate_machine", "fit_to_latencies", "profile_model"]


def __dir__() -> list[str]:
    return __all__


def profile_model(
    model: str,
    data: str | None,
    *,
    cut: int | None,
    target_db: float,
    limit: int,
    out: Path | None,
    shapes: tuple[int, ...] | dict[str, tuple[int, ...]] | None,
    constants: Mapping[str, Any],
    skip_damaged: bool,
    threads: int,
    provider: Provider = CPU,
    progress: Progress,
    written: Callable[[str, Path], None],
) -> ProfileDocument:
    """Measure `model`, write its profile to `out`, and with `data` measure the tensors at every cut, or at `cut`.

    Operators are timed on the CPU; with another `provider` the whole network is timed under it, too.
    `written` is told of a file that was written. Raises `ProfileError`.
    """
    if out is not None:
        check_file_writable(out)
    check_model_source(model)
    if data is None:
        graph = load_source(model, shapes, constants=constants)
    else:
        check_data_source(data)
        graph, dataset, assumed = tensors.load_with_data(
            model, data, shapes, constants=constants, limit=limit, skip_damaged=skip_damaged
        )
    measured, part, timed = None, None, None
    if provider != CPU:
        with progress.stage("provider", None) as step:
            timed = time_with_provider(graph, provider, threads=threads)
            step(provider.name)
    if cut is None or out is not None:
        with progress.stage("profile", None) as step:
            measured = obtain_profile(graph, stored=None, threads=threads)
            step(f"{len(graph.nodes)} nodes")
        if out is not None:
            write_yaml_somewhere(out, measured)
            written("model profile", out)
    if data is not None:
        cuts = tensors.choose(enumerate_cuts(graph).cuts, cut)
        with progress.stage("tensors", len(dataset)) as step:
            found = tensors.measure_cuts(graph, cuts, dataset, threads=threads, step=lambda: step(""))
            step(f"{len(found)} tensors, {len(dataset)} inputs")
        part = tensors_part(cuts, found, target_db=target_db, assumed=assumed)
    modules = None
    if measured is not None and is_torch_spec(model):
        rows = count_torch_source(model, graph)
        modules = None if rows is None else tuple(ModuleRow(**dataclasses.asdict(row)) for row in rows)
    return profile_document(graph, measured, modules=modules, data=part, provider=timed)


def calibrate_machine(
    out: Path,
    *,
    name: str | None,
    threads: int | None,
    provider: Provider = CPU,
    progress: Progress,
    written: Callable[[str, Path], None],
) -> CalibrateDocument:
    """Measure this machine and write its device profile to `out`; `name` is the file's where it is None.

    `written` is told of the file. Raises `ProfileError`.
    """
    check_file_writable(out)
    machine = this_machine(threads=threads or default_threads(), provider=provider.name)
    with progress.stage("calibrate", None) as step:
        measured = calibrate(machine, out, name=name or out.stem, provider=provider, step=step)
        step(f"{machine.cpu}, {machine.threads} threads")
    written("device profile", out)
    return calibrate_document(measured, out)


def fit_to_latencies(
    table: Path,
    out: Path,
    *,
    name: str | None,
    runtime: Runtime,
    unit: Kind,
    progress: Progress,
    written: Callable[[str, Path], None],
) -> CalibrateDocument:
    """Fit a device to the latencies in `table`, which `runtime` describes, and write its profile to `out`.

    `unit` says which devices it borrows from; `name` is the file's where it is None. Raises `ProfileError`.
    """
    check_file_writable(out)
    latencies = read_latencies(table)
    with progress.stage("fit", None) as step:
        device, left_out = fit_device(
            latencies,
            name=name or out.stem,
            description=f"fitted to {len(latencies)} latencies in {table.name}, none measured by splitpoint",
            runtime=runtime,
            unit=unit,
        )
        step(f"{len(latencies)} networks")
    write_yaml_somewhere(out, device)
    written("device profile", out)
    return fitted_document(device, left_out, out)
