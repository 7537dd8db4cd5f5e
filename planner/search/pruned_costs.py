"""What a pruned network costs before it is made: as if its layers lost equal shares, and nothing in quality."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from splitpoint.planner.cost.price import CodingWork, Party
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.pricing import Pricer
from splitpoint.planner.search.table import estimated_bits
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Candidate

if TYPE_CHECKING:
    from splitpoint.planner.networks.pruning import Pruning

__all__ = ["pruned_costs"]


def __dir__() -> list[str]:
    return __all__


def pruned_costs(problem: Problem, given: Measurer, pruning: Pruning) -> tuple[Cost, ...]:
    """On the device alone, and split at its cuts with as many bits as 4 bits a value have in entropy.

    Layers that all keep a share s of their filters keep s^2 of the multiply-adds; Taylor's order takes fewer of them,
    since it spares the wide early layers (`benchmarks/pruning.py`).
    """
    config = problem.config.prune
    of_macs = config is not None and config.ratio_of == "macs"
    network, kept = given.network, 1.0 - pruning.ratio
    macs = kept if of_macs else kept**2
    nodes = sorted({node for cut in pruning.cuts for node in cut.head})
    thin = dataclasses.replace(
        network, edge=_faster(network.edge, nodes, macs), server=_faster(network.server, nodes, macs)
    )
    pricer = Pricer(problem, thin, host=given.host, work_of=_no_work)
    on_device = Candidate(variant=pruning.name, placement="device", cut="", codec="-", rate=0)
    bits = estimated_bits(given.runs, pruning.cuts)
    splits = [pricer.split(cut, _NOTHING, kept * bit / 8) for cut, bit in zip(pruning.cuts, bits, strict=True)]
    return (pricer.price(on_device, 0.0), *splits)


_NOTHING = CodingWork(symbols=(), encoder=(), decoder=(), table_bytes=0, weight_bytes=0)


def _no_work(candidate: Candidate) -> CodingWork:
    return _NOTHING


def _faster(party: Party, nodes: Sequence[int], share: float) -> Party:
    """The same machine, which takes `share` of its seconds for `nodes`."""
    node_s = party.node_s.copy()
    node_s[list(nodes)] *= share
    return dataclasses.replace(party, node_s=node_s)
