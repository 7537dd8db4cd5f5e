"""Peak memory of a head: by hand on a small graph, and never less than any moment needs on random ones."""

from __future__ import annotations

from types import ModuleType

import hypothesis
from hypothesis import strategies as st

from splitpoint.planner.cost.memory import peak_bytes
from splitpoint.planner.cuts.enumeration import enumerate_cuts, execution_order
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

# Bytes: x 16, a 16, b 16 (kept for the sum), c 16, d 32, e 32, y 32; w 64.
RESIDUAL = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,8] y) <float[4,4] w> {
  a = MatMul(x, w)  b = Sigmoid(a)  c = Tanh(b)  s = Add(b, c)
  d = Concat <axis = 1> (s, s)  e = Sin(d)  y = Cos(e) }"""


def at(graph: ModelGraph, tensor: str) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == (tensor,))


def test_peaks_by_hand(nets: ModuleType) -> None:
    graph = load_graph(nets.with_weights(RESIDUAL))
    assert peak_bytes(graph, at(graph, "x")) == 16
    assert peak_bytes(graph, at(graph, "b")) == 64 + 32  # one tensor in, one out
    assert peak_bytes(graph, at(graph, "s")) == 64 + 48  # b waits for c
    assert peak_bytes(graph, at(graph, "d")) == 64 + 48  # 16 in, 32 out
    assert peak_bytes(graph, None) == 64 + 64  # 32 in, 32 out at the end


@hypothesis.settings(max_examples=40)
@hypothesis.given(data=st.data())
def test_peaks_of_random_graphs(strategies: ModuleType, data: st.DataObject) -> None:
    graph = load_graph(data.draw(strategies.random_models()))
    for cut in enumerate_cuts(graph, k=2).cuts:
        order = [node for node in execution_order(graph.nodes) if node.index in set(cut.head)]
        needed = [sum(tensor.bytes for tensor in graph.inputs)]
        for step, node in enumerate(order):
            computed = {name for earlier in order[: step + 1] for name in earlier.outputs}
            computed |= {tensor.name for tensor in graph.inputs}
            read = {name for later in order[step:] for name in later.inputs}
            needed.append(
                sum(graph.tensors[name].bytes for name in computed & (read | set(cut.tensors)) | set(node.outputs))
            )
        weights = sum(node.weight_bytes for node in order)
        assert peak_bytes(graph, cut) == weights + max(needed)
