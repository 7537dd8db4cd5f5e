"""What a node of the graph computes in one inference; for If, Loop and Scan, what the runs executed inside."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

from splitpoint.profiles.network.model import Kernel, OpClass
from splitpoint.profiles.network.onnxir import ir
from splitpoint.profiles.network.operators.call import Call, static_call
from splitpoint.profiles.network.operators.kernels import kernel_of
from splitpoint.profiles.network.operators.macs import count_macs, op_class
from splitpoint.profiles.network.operators.subgraphs import graphs_of, inner_nodes

__all__ = ["NodeWork", "node_work"]


def __dir__() -> list[str]:
    return __all__


Runs = Sequence[Sequence[Call]]  # the calls of a node in each observed run


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NodeWork:
    """The work of a node; of runs that differ, that of the largest."""

    macs: int | None  # None: an operator, or a shape it needs, is not known
    op_class: OpClass
    operators: int = 1  # that run: a Loop runs its body's at every trip
    inner_bytes: int = 0  # that the operators inside read and write
    kernel: Kernel = "plain"  # of a body: of none
    uncounted: str | None = None  # the operator whose multiply-adds are not known: "Det", "Det in Loop"


def node_work(node: ir.Node, runs_of: Callable[[ir.Node], Runs]) -> NodeWork:
    """The work of `node`; `runs_of` gives the calls that were observed, which fixed shapes do not need."""
    if any(True for _ in graphs_of(node)):
        return _body_work(node, runs_of)
    call = static_call(node)
    macs = count_macs(call)
    if macs is None:
        sums = [_sum_macs(calls) for calls in runs_of(node) if calls]
        macs = None if not sums or None in sums else max(each for each in sums if each is not None)
    return NodeWork(
        macs=macs,
        op_class=op_class(call),
        kernel=kernel_of(call),
        uncounted=node.op_type if macs is None else None,
    )


def _body_work(node: ir.Node, runs_of: Callable[[ir.Node], Runs]) -> NodeWork:
    count = len(runs_of(node))
    if not count:
        return NodeWork(macs=None, op_class="other", uncounted=node.op_type)
    leaves = [inner for inner in inner_nodes(node) if not any(True for _ in graphs_of(inner))]
    works = [_run_work(node, [call for inner in leaves for call in runs_of(inner)[run]]) for run in range(count)]
    return max(works, key=lambda work: (work.macs is None, work.macs or 0, work.operators))


def _run_work(node: ir.Node, calls: Sequence[Call]) -> NodeWork:
    by_class: Counter[OpClass] = Counter()
    uncounted = None
    for call in calls:
        macs = count_macs(call)
        by_class[op_class(call)] += macs or 0
        if macs is None:
            uncounted = uncounted or f"{call.node.op_type} in {node.op_type}"
    most: OpClass = max(by_class, key=lambda kind: by_class[kind], default="other")
    return NodeWork(
        macs=None if uncounted else sum(by_class.values()),
        op_class=most,
        operators=1 + len(calls),
        inner_bytes=sum(call.bytes for call in calls),
        uncounted=uncounted,
    )


def _sum_macs(calls: Sequence[Call]) -> int | None:
    total = 0
    for call in calls:
        macs = count_macs(call)
        if macs is None:
            return None
        total += macs
    return total
