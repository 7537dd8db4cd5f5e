"""What the candidates of a landscape cost: a Raspberry Pi 4, LTE Cat 1, a cloud server, by the cost model of a plan.

    python -m splitpoint.benchmarks.latencies {efficientnet-lite0,vgg16h} --data DIR

Every codec is fitted at each cut of the packed landscape at its middle rate, as in a plan's table, and its coder is
timed on this host. The seconds without the link are stored in results/; with them the landscape says what a plan would
see, without the network or the data.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from splitpoint.benchmarks.landscape import LANDSCAPES, Landscape
from splitpoint.benchmarks.recorded import Recorded
from splitpoint.benchmarks.recorded import load as load_recorded
from splitpoint.benchmarks.replay import Priced
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cost.message import Channel, send
from splitpoint.planner.cost.price import Party, cost_of_split, op_work, work_of
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.profiling.host import measure_host
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.values.candidate import GIVEN, Candidate
from splitpoint.profiles.library.catalog import load_device, load_link, load_server
from splitpoint.profiles.machine.device import predict_s
from splitpoint.profiles.machine.machine import this_machine

__all__ = ["load", "measure"]

DEVICE, SERVER, LINK = "raspberry-pi-4", "cloud-8core", "lte-cat1"


def measure(landscape: Landscape, recorded: Recorded) -> dict[str, Any]:
    """Seconds of each cut and codec without the link, of the network on the device, and bytes of the picture."""
    graph, host = landscape.graph, measure_host(this_machine(threads=1))
    edge, server = (
        Party(
            device=device,
            node_s=predict_s(device, [op_work(graph, node) for node in graph.nodes]),
            run_s=device.compute.run_overhead_s,
            how="modelled",
        )
        for device in (load_device(DEVICE), load_server(SERVER))
    )
    cuts = {cut.name: cut for cut in enumerate_cuts(graph).cuts}
    rates: dict[tuple[str, str], list[int]] = {}
    for cut, codec, rate in zip(recorded.cut, recorded.codec, recorded.rate.tolist(), strict=True):
        rates.setdefault((cut, codec), []).append(rate)
    units = []
    with NetworkRuns(
        graph,
        {"calibration": NetworkInputs(landscape.calibration)},
        threads=2,
        labels=landscape.calibration.labels,
    ) as runs:
        for (cut, codec), own in rates.items():
            fitted = runs.fit(cuts[cut], codec, own[len(own) // 2])
            cost = cost_of_split(
                graph=graph,
                cut=cuts[cut],
                work=work_of(fitted, table_bytes=len(save_coders([one.coder for one in fitted]))),
                payload_bytes=0.0,
                peak_bytes=0,
                prepare_symbols=0,
                edge=edge,
                server=server,
                host=host,
                channel=Channel(link=load_link(LINK)),
            )
            units.append({"cut": cut, "codec": codec, "computing_s": cost.latency_s - cost.link_s})
    return {
        "device": DEVICE,
        "server": SERVER,
        "device_s": edge.seconds([node.index for node in graph.nodes]),
        "picture_bytes": int(np.prod(landscape.graph.inputs[0].shape)),
        "units": units,
    }


def load(name: str) -> Priced:
    """The packed landscape of this name with what its candidates cost over the link."""
    recorded = load_recorded(RESULTS / f"landscape-{name}.npz")
    costs = json.loads((RESULTS / f"latencies-{name}.json").read_text())
    computing_s = {(unit["cut"], unit["codec"]): unit["computing_s"] for unit in costs["units"]}
    places = list(zip(recorded.cut, recorded.codec, strict=True))
    channel = Channel(link=load_link(LINK))
    return Priced(
        candidates=tuple(
            Candidate(variant=GIVEN, placement="split", cut=cut, codec=codec, rate=rate)
            for (cut, codec), rate in zip(places, recorded.rate.tolist(), strict=True)
        ),
        latency_s=np.array(
            [
                computing_s[place] + send(channel, size, 0.0).link_s
                for place, size in zip(places, recorded.payload_bytes.tolist(), strict=True)
            ]
        ),
        device_s=costs["device_s"],
        payload_bytes=recorded.payload_bytes,
        most_bytes=costs["picture_bytes"],
        right=recorded.right,
        right_unsplit=recorded.right_unsplit,
        divergence=recorded.divergence,
        margin=recorded.margin,
        margin_unsplit=recorded.margin_unsplit,
    )


def main() -> int:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscape", choices=sorted(LANDSCAPES))
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar100, imagenet500 and models")
    options = parser.parse_args()
    recorded = load_recorded(RESULTS / f"landscape-{options.landscape}.npz")
    found = measure(LANDSCAPES[options.landscape](options.data), recorded)
    path = RESULTS / f"latencies-{options.landscape}.json"
    store(path, found, command=f"latencies {options.landscape} --data DIR", threads=1)
    print(f"{len(found['units'])} cuts and codecs; the network on the device: {found['device_s']:.3f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
