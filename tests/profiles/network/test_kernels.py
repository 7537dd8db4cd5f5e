"""Which kernel of its own an operator runs by."""

from __future__ import annotations

import onnx
import pytest

from splitpoint.profiles.network.graph import describe_model

NET = """
<ir_version: 9, opset_import: ["" : 17]>
net (float[1,16,8,8] x) => (float[1,16,8,8] y, float[1,1024] z)
<float[16,16,3,3] dense, float[16,1,5,5] wide, float[16,8,3,3] halves, float[16,16,1,1] point>
{
  a = Conv<pads=[1,1,1,1]>(x, dense)
  b = Relu(a)
  c = Conv<pads=[2,2,2,2], group=16>(b, wide)
  d = Conv<pads=[1,1,1,1], group=2>(c, halves)
  e = Conv(d, point)
  f = Relu(e)
  y = Add(f, e)
  z = Flatten(y)
}
"""


def test_kernels_of_a_small_network() -> None:
    model = onnx.parser.parse_model(NET)
    for name, shape in (("dense", (16, 16, 3, 3)), ("wide", (16, 1, 5, 5)), ("halves", (16, 8, 3, 3))):
        _fill(model, name, shape)
    _fill(model, "point", (16, 16, 1, 1))
    graph = describe_model(model.SerializeToString(), name="net")
    # The second Relu is not alone in reading its convolution's result.
    assert [node.kernel for node in graph.nodes] == [
        "winograd", "fused", "wide", "grouped", "plain", "plain", "plain", "moves"
    ]  # fmt: skip


@pytest.mark.parametrize(("strides", "channels", "kernel"), [(1, 16, "winograd"), (2, 16, "plain"), (1, 4, "plain")])
def test_winograd_is_for_stride_one_and_enough_channels(strides: int, channels: int, kernel: str) -> None:
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]>
        net (float[1,{channels},8,8] x) => (float[1,16,h,w] y) <float[16,{channels},3,3] weight>
        {{ y = Conv<strides=[{strides},{strides}], pads=[1,1,1,1]>(x, weight) }}"""
    )
    _fill(model, "weight", (16, channels, 3, 3))
    (node,) = describe_model(model.SerializeToString(), name="net").nodes
    assert node.kernel == kernel


def _fill(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> None:
    """Give a weight that the text only declares its (zero) elements."""
    size = 1
    for side in shape:
        size *= side
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, shape, [0.0] * size))
