"""Hypothesis strategies that several test files share."""

from __future__ import annotations

from hypothesis import strategies as st
from onnx import TensorProto, helper


@st.composite
def random_models(draw: st.DrawFn) -> bytes:
    """DAGs over (1, 4, 5, 5) tensors with skips, branches, two-output nodes, shared weights and several outputs."""
    shape = (1, 4, 5, 5)
    weights = [
        helper.make_tensor(f"w{i}", TensorProto.FLOAT, (4, 4, 1, 1), [0.1 * (i + j % 5 - 2) for j in range(16)])
        for i in range(3)
    ]
    nodes, tensors = [], ["x"]
    for index in range(draw(st.integers(1, 14))):
        # Mostly the newest tensor, so that chains and hence cuts are common.
        pick = st.sampled_from([*tensors, *[tensors[-1]] * 6])
        first, second = draw(pick), draw(pick)
        out = f"t{index}"
        kind = draw(st.sampled_from(["conv", "relu", "add", "mul", "halves", "sigmoid", "pool"]))
        name = f"n{index}"
        if kind == "conv":
            weight = draw(st.sampled_from([w.name for w in weights]))
            nodes.append(helper.make_node("Conv", [first, weight], [out], name=name))
        elif kind in ("add", "mul"):
            nodes.append(helper.make_node(kind.capitalize(), [first, second], [out], name=name))
        elif kind == "halves":
            nodes.append(helper.make_node("Split", [first], [f"{out}a", f"{out}b"], name=f"{name}s", axis=1))
            nodes.append(helper.make_node("Concat", [f"{out}b", f"{out}a"], [out], name=name, axis=1))
        elif kind == "pool":
            pads = [1, 1, 1, 1]
            nodes.append(helper.make_node("MaxPool", [first], [out], name=name, kernel_shape=[3, 3], pads=pads))
        else:
            nodes.append(helper.make_node(kind.capitalize(), [first], [out], name=name))
        tensors.append(out)
    ends = [tensors[-1]]
    if draw(st.integers(0, 4)) == 0:
        ends.append(draw(st.sampled_from(tensors[1:])))
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ["x", *ends]}
    graph = helper.make_graph(nodes, "random", [infos["x"]], [infos[name] for name in dict.fromkeys(ends)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
