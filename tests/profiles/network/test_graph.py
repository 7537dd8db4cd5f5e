"""Loading models: the canonical form, and one clear error for each that cannot be planned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnx.external_data_helper
import pytest

from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import CONVERSION_TOLERANCE, random_feeds, to_bytes
from splitpoint.profiles.network.graph import load_canonical, load_graph, load_model
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session, optimize_basic

HEADER = '<ir_version: 8, opset_import: ["": 17]>'
SMALL = """ g (float[N,3,H,W] x) => (float[N,2,H,W] y) <float[2,3,1,1] w, float[2] scale, float[2] bias> {
  a = Conv(x, w)  b = BatchNormalization(a, scale, bias, bias, scale)  y = Relu(b) }"""
NETWORKS = [
    ("resnet18", 64, {"width": 8, "classes": 10}),
    ("densenet121", 64, {"growth": 4, "stem": 8, "stages": (3, 4, 3, 3), "classes": 10}),
    ("mobilenet_v2", 64, {"width": 0.25, "classes": 10}),
    ("vit", 64, {"dim": 48, "depth": 2, "heads": 3, "patch": 16, "side": 64, "classes": 10}),
]


@pytest.fixture
def small(nets: ModuleType) -> bytes:
    model: bytes = nets.with_weights(HEADER + SMALL)
    return model


def written(path: Path, model: bytes) -> Path:
    path.write_bytes(model)
    return path


def test_shape_is_fixed_and_batchnorm_is_folded(small: bytes, tmp_path: Path) -> None:
    graph = load_model(written(tmp_path / "small.onnx", small), input_shapes={"x": (1, 3, 8, 8)})
    assert [node.op_type for node in graph.nodes] == ["Conv", "Relu"]
    assert graph.inputs[0].shape == (1, 3, 8, 8)
    assert (graph.outputs[0].shape, graph.outputs[0].bytes) == ((1, 2, 8, 8), 4 * 2 * 64)
    assert (graph.name, graph.source) == ("small", str(tmp_path / "small.onnx"))
    assert graph.source_sha256 == hashlib.sha256(small).hexdigest()
    assert graph.sha256 == hashlib.sha256(whole_bytes(graph)).hexdigest()
    assert graph.parameters == 2 * 3 + 2  # weights, and a bias that the folding made
    onnx.checker.check_model(onnx.load_model_from_string(whole_bytes(graph)), full_check=True)


def test_the_canonical_model_computes_what_the_source_computes(small: bytes) -> None:
    graph = load_graph(small, input_shapes={"x": (1, 3, 8, 8)})
    session = open_session(whole_bytes(graph), level="disabled")
    feeds = random_feeds(session.inputs)
    expected = open_session(small, level="disabled").run(feeds)["y"]
    assert np.allclose(session.run(feeds)["y"], expected, rtol=0, atol=CONVERSION_TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize(("name", "input_side", "options"), NETWORKS, ids=[row[0] for row in NETWORKS])
def test_the_canonical_form_is_a_fixed_point(
    torch_graph: Callable[..., ModelGraph],
    exported: Callable[..., bytes],
    name: str,
    input_side: int,
    options: dict[str, object],
    tmp_path: Path,
) -> None:
    graph = torch_graph(name, input_side=input_side, **options)
    model = whole_bytes(graph)
    assert load_graph(model).sha256 == graph.sha256
    assert load_canonical(model).sha256 == graph.sha256
    optimize_basic(model, tmp_path / "basic.onnx")
    again = onnx.load(tmp_path / "basic.onnx").graph.node
    assert [node.name for node in again] == [node.name for node in graph.nodes]
    assert b"/" + Path(__file__).parts[1].encode() + b"/" not in model  # exporters write stack traces


def test_names_are_made_unique(nets: ModuleType) -> None:
    proto = onnx.load_model_from_string(
        nets.from_text(HEADER + " g (float[1,4] x) => (float[1,4] y) { a = Sigmoid(x)  b = Tanh(a)  y = Sin(b) }")
    )
    for node in proto.graph.node:
        node.name = "same"
    names = [node.name for node in load_graph(proto.SerializeToString()).nodes]
    assert len(set(names)) == 3
    assert all(names)


def test_constant_branches_are_weights_not_nodes(nets: ModuleType) -> None:
    """A weight behind DequantizeLinear, which ORT does not fold, belongs to the operator that reads it."""
    graph = load_graph(
        nets.with_weights(
            HEADER
            + """ g (float[1,4] x) => (float[1,2] y) <int8[4,2] q, float s = {0.1}, int8 z = {0}> {
            w = DequantizeLinear(q, s, z)  y = MatMul(x, w) }"""
        )
    )
    assert [(node.op_type, node.parameters) for node in graph.nodes] == [("MatMul", 8 + 1 + 1)]
    assert graph.nodes[0].weight_bytes == 8 + 4 + 1


@pytest.mark.parametrize("kind", ["uint8", "float16", "double"])
def test_input_types(nets: ModuleType, kind: str) -> None:
    text = f" g ({kind}[1,3,4,4] x) => (float[1,3,4,4] y) {{ a = Cast <to = 1> (x)  y = Sigmoid(a) }}"
    graph = load_graph(nets.from_text(HEADER + text))
    assert graph.inputs[0].dtype == {"double": "float64"}.get(kind, kind)


def test_an_old_opset_is_raised(nets: ModuleType) -> None:
    text = """<ir_version: 3, opset_import: ["": 9]> g (float[1,4] x, float[4,4] w) => (float[1,4] y)
      <float[4,4] w = {1.,2.,3.,4.,5.,6.,7.,8.,9.,1.,2.,3.,4.,5.,6.,7.}>
      { a = MatMul(x, w)  y = Softmax <axis = 1> (a) }"""
    graph = load_graph(nets.from_text(text))
    assert graph.opset == 17
    assert [tensor.name for tensor in graph.inputs] == ["x"]


def test_an_old_opset_stays_where_raising_it_changes_the_result(
    nets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '<ir_version: 4, opset_import: ["": 11]> g (float[1,4] x) => (float[1,4] y) { y = Sigmoid(x) }'
    wrong = onnx.load_model_from_string(nets.from_text(HEADER + " g (float[1,4] x) => (float[1,4] y) { y = Tanh(x) }"))
    monkeypatch.setattr(onnx.version_converter, "convert_version", lambda proto, target: wrong)
    graph = load_graph(nets.from_text(text))
    assert (graph.opset, graph.nodes[0].op_type) == (11, "Sigmoid")


def test_an_output_whose_size_depends_on_data_is_allowed(nets: ModuleType) -> None:
    text = " g (float[1,4] x) => (int64[2,N] y) { a = Sigmoid(x)  y = NonZero(a) }"
    graph = load_graph(nets.from_text(HEADER + text))
    assert graph.outputs[0].shape == (2, 4)
    assert graph.unsized["y"].reason.startswith("its size depends on the data")  # although all runs give 4 columns
    assert graph.unsized["y"].bytes == 2 * 4 * 8


def refused(path: Path, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> str:
    with pytest.raises(ProfileError) as caught:
        load_model(path, input_shapes=input_shapes)
    text = str(caught.value)
    assert str(path) in text
    assert "\n  fix   " in text
    return text


def test_an_absent_file(tmp_path: Path) -> None:
    assert "no such model file" in refused(tmp_path / "absent.onnx")


def test_an_empty_file(tmp_path: Path) -> None:
    assert "empty (0 bytes)" in refused(written(tmp_path / "empty.onnx", b""))


def test_every_truncation_of_a_small_model(small: bytes, tmp_path: Path) -> None:
    for length in range(1, len(small), 7):
        with pytest.raises(ProfileError):
            load_model(written(tmp_path / "cut.onnx", small[:length]), input_shapes={"x": (1, 3, 8, 8)})


def test_not_an_onnx_file(tmp_path: Path) -> None:
    assert "not an ONNX model" in refused(written(tmp_path / "text.onnx", b"hello, this is a text file\n"))


def test_symbolic_dimensions_are_named(small: bytes, tmp_path: Path) -> None:
    text = refused(written(tmp_path / "small.onnx", small))
    assert "[N, 3, H, W]: dimension 2 (H) and 3 (W) is not fixed" in text
    assert "--size 1x3x224x224" in text


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 4, 8, 8), "does not fit the model's [N, 3, H, W]"),
        ((1, 3, 8), "does not fit the model's [N, 3, H, W]"),
        ((1, 3, 0, 8), "has a dimension below 1"),
    ],
)
def test_a_wrong_shape_is_refused(small: bytes, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_graph(small, input_shapes={"x": shape})
    assert reason in str(caught.value)


def test_an_unknown_input_name_is_refused(small: bytes) -> None:
    with pytest.raises(ProfileError, match=r"no input 'images'[\s\S]*its inputs are x"):
        load_graph(small, input_shapes={"images": (1, 3, 8, 8)})


def test_a_dynamic_rank(nets: ModuleType, tmp_path: Path) -> None:
    model = nets.from_text(HEADER + " g (float x) => (float y) { y = Sigmoid(x) }")
    proto = onnx.load_model_from_string(model)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert "rank of input 'x' is not known" in refused(written(tmp_path / "rank.onnx", proto.SerializeToString()))


def test_no_tensor_input(nets: ModuleType, tmp_path: Path) -> None:
    text = " g (seq(float[1,4]) s) => (float[1,4] y) { y = ConcatFromSequence <axis = 0> (s) }"
    path = written(tmp_path / "sequence.onnx", nets.from_text(HEADER + text))
    assert "input 's' is no tensor of known type" in refused(path)


def test_an_output_without_input(nets: ModuleType, tmp_path: Path) -> None:
    text = " g (float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Sigmoid(w) }"
    path = written(tmp_path / "constant.onnx", nets.from_text(HEADER + text))
    assert "output 'y' does not depend on the input" in refused(path)


def test_an_unknown_operator_on_the_path(nets: ModuleType, tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "acme": 1]> g (float[1,4] x) => (float[1,4] y) { y = acme.Foo(x) }'
    message = refused(written(tmp_path / "custom.onnx", nets.from_text(text)))
    assert "acme:Foo is unknown to ONNX Runtime (1 nodes)" in message


def test_an_unknown_operator_off_the_path_is_no_trouble(nets: ModuleType) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "acme": 1]> g (float[1,4] x) => (float[1,4] y)
      { z = acme.Foo(x)  y = Sigmoid(x) }"""
    assert [node.op_type for node in load_graph(nets.from_text(text)).nodes] == ["Sigmoid"]


def test_shapes_that_do_not_fit_one_another(nets: ModuleType, tmp_path: Path) -> None:
    text = """ g (float[N,4] x) => (float[1,2] y) <int64[2] s = {2, 8}, float[8,2] w>
      { a = Reshape(x, s)  y = MatMul(a, w) }"""
    path = written(tmp_path / "batch.onnx", nets.with_weights(HEADER + text))
    assert "cannot" in refused(path)


@pytest.fixture
def external(tmp_path: Path, small: bytes) -> Path:
    """A model whose weights lie in weights.bin beside it."""
    path = tmp_path / "external.onnx"
    proto = onnx.load_model_from_string(small)
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size > 0
    return path


SHAPES = {"x": (1, 3, 8, 8)}


def test_external_data_is_read(external: Path, small: bytes) -> None:
    assert load_model(external, input_shapes=SHAPES).sha256 == load_graph(small, input_shapes=SHAPES).sha256
    before = load_model(external, input_shapes=SHAPES).source_sha256
    data = external.with_name("weights.bin")
    data.write_bytes(bytes(reversed(data.read_bytes())))
    assert load_model(external, input_shapes=SHAPES).source_sha256 != before


def test_external_data_is_missing(external: Path) -> None:
    external.with_name("weights.bin").unlink()
    assert "is missing: 'weights.bin'" in refused(external, input_shapes=SHAPES)


def test_external_data_is_cut_short(external: Path) -> None:
    data = external.with_name("weights.bin")
    data.write_bytes(data.read_bytes()[:10])
    assert "'weights.bin' is cut short" in refused(external, input_shapes=SHAPES)


@pytest.mark.parametrize("location", ["../weights.bin", "sub/../../weights.bin"])
def test_external_data_outside_the_folder(external: Path, location: str) -> None:
    proto = onnx.load(external, load_external_data=False)
    for weight in proto.graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = location
    folder = external.parent / "model"
    (folder / "sub").mkdir(parents=True)
    path = written(folder / "moved.onnx", proto.SerializeToString())
    assert "is outside the model's folder" in refused(path, input_shapes=SHAPES)


def test_external_data_behind_a_link_out_of_the_folder(external: Path) -> None:
    folder = external.parent / "model"
    folder.mkdir()
    (folder / "weights.bin").symlink_to(external.with_name("weights.bin"))
    path = written(folder / "linked.onnx", external.read_bytes())
    assert "is outside the model's folder" in refused(path, input_shapes=SHAPES)


def test_serializing_equals_protobuf(nets: ModuleType, small: bytes) -> None:
    """The fast writer's bytes parse to the very message that protobuf would have written."""
    graph = load_graph(small, input_shapes=SHAPES)
    proto = onnx.load_model_from_string(to_bytes(graph.model))
    again = onnx.load_model_from_string(proto.SerializeToString())
    assert proto == again
    assert {w.name: onnx.numpy_helper.to_array(w).shape for w in proto.graph.initializer} == {
        name: tuple(value.shape.numpy()) for name, value in graph.model.graph.initializers.items() if value.shape
    }
