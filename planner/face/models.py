"""``splitpoint.cuts``, ``profile`` and ``load_profile``: what a network and a machine are, without a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.planner.cost.message import Channel, send
from splitpoint.planner.cost.price import Party, other_half, party, predict_graph_s
from splitpoint.planner.cost.runnable import runnable_cuts, unit_notes
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.face.plans import progress_of
from splitpoint.planner.face.sources import Model, named_model
from splitpoint.planner.output.documents.cuts import CutsDocument, cuts_document
from splitpoint.planner.profiling.model_profile import obtain_profile
from splitpoint.planner.setup.checks import check_model_source
from splitpoint.planner.setup.inputs import load_source
from splitpoint.planner.setup.loading import default_threads
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.library.catalog import find_profile, load_device, load_link, load_server
from splitpoint.profiles.link.types import Link
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["cuts", "list_cuts", "load_profile", "profile"]


def __dir__() -> list[str]:
    return __all__


HOST = "host"
Shapes = tuple[int, ...] | Mapping[str, tuple[int, ...]] | None


def cuts(
    model: Model | Any,
    *,
    shapes: Shapes = None,
    constants: Mapping[str, Any] | None = None,
    tensors: int = 1,
    device: str | None = None,
    server: str | None = None,
    link: str | None = None,
    progress: bool | None = None,
) -> CutsDocument:
    """Every place where up to `tensors` tensors separate head and tail, and why the other places are none.

    With a device, a server or a link each cut has the modelled seconds of a request whose tensors cross in float32;
    what is not named of the three is ``host``, ``host`` and ``wifi-5``, and only ``host`` is measured. Cuts of which an
    accelerator refuses a half are among the refused places then. Raises `ProfileError`.

    Examples:
        >>> import splitpoint
        >>> found = splitpoint.cuts("model.onnx", device="raspberry-pi-4", server="cloud-8core", link="wifi-5")
        >>> [(cut.index, cut.layer) for cut in found.cuts][:2]
        [(0, 'input'), (1, 'conv0')]
        >>> found.cuts[1].latency_s > found.cuts[1].head_s > 0
        True
    """
    with named_model(model) as source:
        return list_cuts(
            source,
            shapes=shapes,
            constants=constants or {},
            tensors=tensors,
            sides=(device, server, link),
            progress=progress_of(progress),
        )


def list_cuts(
    source: str,
    *,
    shapes: Shapes,
    constants: Mapping[str, Any],
    tensors: int,
    sides: tuple[str | None, str | None, str | None],
    progress: Progress,
) -> CutsDocument:
    """As `cuts`, of a model by its name; `sides` are device, server and link, None: not given."""
    check_model_source(source)
    graph = load_source(source, None if shapes is None else _shapes(shapes), constants=constants)
    if not any(sides):
        return cuts_document(graph, enumerate_cuts(graph, k=tensors))
    names = [given or default for given, default in zip(sides, (HOST, HOST, "wifi-5"), strict=True)]
    return _with_seconds(graph, *names, tensors=tensors, progress=progress)


def profile(model: Model | Any, *, shapes: Shapes = None, constants: Mapping[str, Any] | None = None) -> ModelProfile:
    """Measure a network on this machine: seconds of each operator and of the whole, with their spread.

    Raises `ProfileError`.

    Examples:
        >>> import splitpoint
        >>> measured = splitpoint.profile("model.onnx")
        >>> measured.whole.min_s > 0
        True
    """
    with named_model(model) as source:
        check_model_source(source)
        graph = load_source(source, None if shapes is None else _shapes(shapes), constants=constants or {})
    return obtain_profile(graph, stored=None, threads=default_threads())


def load_profile(name: str | Path) -> Device | Link:
    """The device, server or link of that name, or in that YAML file, such as "raspberry-pi-4" or "wifi-5@2 Mbit/s".

    Raises `ProfileError`, with the nearest names, for a name that is none.

    Examples:
        >>> import splitpoint
        >>> splitpoint.load_profile("raspberry-pi-4").name
        'raspberry-pi-4'
        >>> splitpoint.load_profile("wifi-5@2 Mbit/s").name
        'wifi-5@2 Mbit/s'
    """
    return find_profile(str(name)).profile


def _with_seconds(
    graph: ModelGraph, device: str, server: str, link: str, *, tensors: int, progress: Progress
) -> CutsDocument:
    """The rows with the seconds of head, message and tail; the network is measured only where a side is this host."""
    channel = Channel(link=load_link(link))
    machines = [None if name == HOST else load(name) for name, load in ((device, load_device), (server, load_server))]
    measured = None
    if None in machines or graph.uncounted:  # what has no count of multiply-adds is bounded by its time here
        with progress.stage("profile", None) as step:
            measured = obtain_profile(graph, stored=None, threads=default_threads())
            step(f"{len(graph.nodes)} nodes")
    edge, other = (_party(machine, graph, measured) for machine in machines)
    runnable = runnable_cuts(graph, enumerate_cuts(graph, k=tensors), edge, other)
    document = cuts_document(graph, runnable)
    rows = []
    for row, cut in zip(document.cuts, runnable.cuts, strict=True):
        head_s, tail_s = edge.seconds(cut.head), other.seconds(other_half(graph, cut))
        link_s = send(channel, row.bytes, tail_s).link_s
        arrives = math.isfinite(link_s)
        rows.append(
            msgspec.structs.replace(
                row,
                head_s=head_s,
                link_s=link_s if arrives else None,
                tail_s=tail_s,
                latency_s=head_s + link_s + tail_s if arrives else None,
                fallen_back=0 if edge.units is None else len(edge.units.fallen_back(cut.head)),
            )
        )
    names = f"{edge.device.name}, {channel.link.name}, {other.device.name}"
    units = unit_notes(graph, runnable, edge, other)
    return msgspec.structs.replace(document, cuts=tuple(rows), timed=names, units=units)


def _party(machine: Device | None, graph: ModelGraph, measured: ModelProfile | None) -> Party:
    if measured is not None:
        return party(measured.host if machine is None else machine, graph, measured)
    assert machine is not None  # else the network was measured
    units, node_s = predict_graph_s(machine, graph, {}, host=machine)  # there is no node without a count
    return Party(device=machine, node_s=node_s, run_s=machine.compute.run_overhead_s, how="modelled", units=units)


def _shapes(shapes: Any) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    return {k: tuple(v) for k, v in shapes.items()} if isinstance(shapes, Mapping) else tuple(shapes)
