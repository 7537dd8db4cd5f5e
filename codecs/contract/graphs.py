"""Small ONNX graphs, built op by op: what a codec adds to the end of the head and the start of the tail.

Only operators whose definition is the same from opset 13 to today's are used (per-channel extremes are GlobalMaxPool,
since the axes of ReduceMax moved from attribute to input at 18), so a graph joins a model of any such opset by changing
one number. Every graph is batch-agnostic inside; its declared batch axis is 1. The same calls give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from splitpoint.codecs.contract.protocol import Array, GraphRunner

if TYPE_CHECKING:
    import onnx

__all__ = ["IR_VERSION", "OPSET", "Graph"]


def __dir__() -> list[str]:
    return __all__


OPSET = 13
CHUNK_ELEMENTS = 1 << 22  # of inputs evaluated at once: intermediates stay within some tens of megabytes
IR_VERSION = 7  # the version that came with opset 13; any newer runtime reads it


class Graph:
    """An ONNX graph under construction: `op` appends a node and gives the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self.weight_bytes = 0
        self._count = 0

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self._nodes)

    def op(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append one node of one output."""
        from onnx import helper

        name = output if output is not None else self._name(operator.lower())
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=f"{operator}_{name}", **attributes))
        return name

    def constant(self, values: Array | np.generic) -> str:
        """Add an initializer: float32 unless it is an integer array."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._name("constant")
        self._initializers[name] = numpy_helper.from_array(array, name)
        self.weight_bytes += array.nbytes
        return name

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Reshape behind the batch axis: `shape` leaves the batch out."""
        return self.op("Reshape", x, self.constant(np.array([-1, *shape], np.int64)))

    def cast(self, x: str, dtype: str, output: str | None = None) -> str:
        """Cast to a numpy type."""
        return self.op("Cast", x, output=output, to=_onnx_type(dtype))

    def model(
        self,
        inputs: Mapping[str, tuple[str, tuple[int, ...]]],
        outputs: Mapping[str, tuple[str, tuple[int, ...]]],
        *,
        batch: int | str | None = None,
    ) -> bytes:
        """Serialize; `inputs` and `outputs` map a name to (numpy type, shape); `batch` replaces axis 0."""
        return bytes(self._proto(inputs, outputs, batch).SerializeToString(deterministic=True))

    def run(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, tuple[str, tuple[int, ...]]],
        runner: GraphRunner | None = None,
    ) -> dict[str, Array]:
        """Run a few inputs at a time, by onnx's reference evaluator without a `runner`: how `fit` sees what runs."""
        described = {name: (str(x.dtype), x.shape) for name, x in inputs.items()}
        if runner is None:
            runner = _evaluate
        model = self.model(described, outputs, batch="N")
        count = len(next(iter(inputs.values())))
        step = max(1, CHUNK_ELEMENTS * count // max(sum(x.size for x in inputs.values()), 1))
        parts = [runner(model, {name: x[i : i + step] for name, x in inputs.items()}) for i in range(0, count, step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    def _proto(
        self,
        inputs: Mapping[str, tuple[str, tuple[int, ...]]],
        outputs: Mapping[str, tuple[str, tuple[int, ...]]],
        batch: int | str | None,
    ) -> onnx.ModelProto:
        from onnx import helper

        def info(name: str, dtype: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
            dims = list(shape) if batch is None else [batch, *shape[1:]]
            return helper.make_tensor_value_info(name, _onnx_type(dtype), dims)

        graph = helper.make_graph(
            self._nodes,
            "codec",
            [info(name, *value) for name, value in inputs.items()],
            [info(name, *value) for name, value in outputs.items()],
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="splitpoint")

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"codec_{stem}_{self._count}"


def _evaluate(model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """A model by onnx's reference evaluator, in numpy."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    values = evaluator.run(None, dict(inputs))
    return dict(zip(evaluator.output_names, (np.asarray(value) for value in values), strict=True))


def _onnx_type(dtype: str) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
