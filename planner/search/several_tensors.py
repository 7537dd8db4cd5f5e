"""Whether a cut of more tensors would beat those searched: the exact check of planner.cuts.mincut at a plan's costs."""

from __future__ import annotations

from splitpoint.planner.cost.message import send
from splitpoint.planner.cuts.mincut import gain_of_several
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.network.model import CARRIED_TYPES

__all__ = ["missed"]


def __dir__() -> list[str]:
    return __all__


UNCODED_BITS = 8.0  # a value, where the chosen point is no split that would tell
LEAST_GAIN = 0.02  # of the latency: less is within what the profile knows


def missed(problem: Problem, network: Network, chosen: Evaluated) -> str | None:
    """What a cut of more tensors than were searched would gain over the cuts that were, or None.

    Every tensor is sent at the bits a value that `chosen` takes, over the link's rate at the size of its payload, after
    what the link takes for any message; overhead of a run and the codec's own seconds are left out.
    """
    bits = UNCODED_BITS
    split = chosen.candidate.placement == "split" and chosen.candidate.variant == network.name
    cut = network.cut(chosen.candidate.cut) if split else None
    if cut is not None:
        bits = 8 * chosen.cost.payload_bytes / cut.elements
    tensors = {name: t for name, t in network.graph.tensors.items() if t.dtype in CARRIED_TYPES and t.elements}
    sizes = {name: bits * tensor.elements / 8 for name, tensor in tensors.items()}
    typical = chosen.cost.payload_bytes or min(sizes.values())
    once, twice = (send(problem.channel, size, 0.0) for size in (typical, 2 * typical))
    if once.infeasible is not None or twice.infeasible is not None:
        return None
    if network.edge.units is not None or network.server.units is not None:
        return None  # the seconds of a head are no sum over its nodes: crossings to the CPU are beside them
    byte_s = (twice.link_s - once.link_s) / typical
    gain = gain_of_several(
        network.graph,
        network.cuts.cuts,
        head_s=network.edge.node_s.tolist(),
        tail_s=network.server.node_s.tolist(),
        send_s={name: size * byte_s for name, size in sizes.items()},
        fixed_s=max(0.0, once.link_s - byte_s * typical),
        least=LEAST_GAIN,
    )
    if gain is None or len(gain.best.tensors) < 2:
        return None
    return f"{gain}, at {bits:.2g} bit a value; search.max_tensors: {len(gain.best.tensors)} searches such cuts"
