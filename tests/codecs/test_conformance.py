"""What every tensor codec of the registry must do, through its own ONNX graphs, its coder and the stored coder."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from splitpoint.codecs import container
from splitpoint.codecs.contract.protocol import Array, CodecError, Context, FitError, FittedCodec, PayloadError, fit_one
from splitpoint.codecs.pictures.tiles import missing
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY, get
from splitpoint.codecs.store import load_coders, save_coders
from splitpoint.tests.decoded import check_tensors, sent
from splitpoint.tests.switches import CHANNEL, NoSteps, frozen_layer

SHAPE = (208, 8, 8, 8)  # enough for 50 vectors of 2 for each of 1,024 codewords
PLAN = b"planhash"
FLIPS = 10_000
RECOMPUTED = 300


def activations(codec: str, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    spread = np.exp(generator.normal(size=(1, shape[1], *(1,) * (len(shape) - 2))))
    values = generator.laplace(size=shape) * spread
    if "float32" in _types(codec):
        return values.astype(np.float32)
    return np.clip(np.rint(8 * values), -128, 127).astype(np.int8)


def _types(codec: str) -> tuple[str, ...]:
    return ("int8",) if codec.startswith("bytes-") or codec == "integers" else ("float32",)


def context(codec: str, x: Array) -> Context:
    generator = np.random.default_rng(1)
    layer_input = generator.normal(size=(len(x), 4, 16, 16)).astype(np.float32)
    layer = frozen_layer(x.shape[1], 4, stride=2)
    return Context(layer_input=layer_input, convolution=layer, training=NoSteps(), channel=CHANNEL)


@functools.cache
def fitted(codec: str, rate: int) -> FittedCodec:
    x = activations(codec)
    return fit_one(REGISTRY[codec], x, rate, context(codec, x))


@dataclasses.dataclass(frozen=True)
class Ends:
    """Encoder and decoder as a device and a server would run them."""

    fit: FittedCodec

    def session(self, graph: bytes) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        return ort.InferenceSession(graph, options)

    def tensors(self, x: Array) -> dict[str, Array]:
        if self.fit.encoder is None:
            return {"x": x}
        session = self.session(self.fit.encoder)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"x": x}), strict=True))

    def tensor(self, tensors: Mapping[str, Array]) -> Array:
        if self.fit.decoder is None:
            return tensors["x"]
        return np.asarray(self.session(self.fit.decoder).run(["y"], dict(tensors))[0])


OPTIONAL = {"choi-tiles-jxl": "jxl", "lossy-tiles-hevc": "hevc"}  # need what is not installed everywhere
HERE = [name for name in sorted(REGISTRY) if name not in OPTIONAL or missing(OPTIONAL[name]) is None]
ALL = [(name, rate) for name in HERE for rate in sorted({0, len(REGISTRY[name].rates) - 1})]


@pytest.mark.parametrize(("codec", "rate"), ALL)
class TestEveryCodecAtItsExtremeRates:
    def test_symbols_come_back_equal_and_payloads_are_deterministic(self, codec: str, rate: int) -> None:
        fit = fitted(codec, rate)
        ends = Ends(fit)
        reloaded = load_coders(save_coders([fit.coder]))[0]
        for seed in (0, 5):
            tensors = ends.tensors(activations(codec, seed=seed)[:1])
            payload = fit.coder.encode(tensors)
            assert payload == fit.coder.encode(tensors) == reloaded.encode(tensors)
            decoded = reloaded.decode(payload)
            assert list(decoded) == [spec.name for spec in fit.coder.specs] or set(decoded) == set(tensors)
            if fit.boundary == "symbols":
                for name, values in sent(fit.coder, tensors).items():
                    assert np.array_equal(decoded[name], values), name
            for spec in fit.coder.specs:
                assert decoded[spec.name].shape == spec.shape
                assert decoded[spec.name].dtype == spec.dtype
            y = ends.tensor(decoded)
            assert y.shape == fit.shape
            assert np.isfinite(y).all()

    @pytest.mark.parametrize("kind", ["constant", "zero", "huge", "denormal", "strided"])
    def test_unusual_inputs_survive(self, codec: str, rate: int, kind: str) -> None:
        fit = fitted(codec, rate)
        x = activations(codec)[:1]
        if kind == "strided":
            x = np.repeat(x, 2, axis=3)[..., ::2]
        elif x.dtype == np.float32:
            value = {"constant": 0.37, "zero": 0.0, "huge": 3e38, "denormal": 1e-42}[kind]
            x = np.full_like(x, value)
        else:
            x = np.full_like(x, {"constant": 37, "zero": 0, "huge": 127, "denormal": -128}[kind])
        tensors = Ends(fit).tensors(x)
        decoded = fit.coder.decode(fit.coder.encode(tensors))
        if fit.boundary == "symbols":
            assert all(np.array_equal(decoded[name], values) for name, values in sent(fit.coder, tensors).items())
        y = Ends(fit).tensor(decoded)
        assert y.shape == fit.shape
        assert np.isfinite(y).all()

    def test_fitting_constants_and_single_positions(self, codec: str, rate: int) -> None:
        x = activations(codec)
        for data in (np.zeros_like(x), np.full_like(x, 3), x[:1]):
            if codec == "brito-vq" and len(data) == 1:
                with pytest.raises(FitError, match="training vectors"):
                    fit_one(REGISTRY[codec], data, rate, context(codec, data))
                continue
            fit = fit_one(REGISTRY[codec], data, rate, context(codec, data))
            tensors = Ends(fit).tensors(data[:1])
            decoded = load_coders(save_coders([fit.coder]))[0].decode(fit.coder.encode(tensors))
            assert np.isfinite(Ends(fit).tensor(decoded)).all()


@pytest.mark.parametrize("codec", HERE)
class TestEveryCodec:
    def test_is_registered_under_its_name_with_its_own_id(self, codec: str) -> None:
        assert REGISTRY[codec].name == codec
        assert 0 < CODEC_IDS[codec] < 128
        values = [rate.value for rate in REGISTRY[codec].rates]
        assert len({rate.label for rate in REGISTRY[codec].rates}) == len(values)

    @pytest.mark.parametrize("shape", [(1, 12, 6), (1, 40), (1, 3, 1, 1), (1, 5, 3, 7), (1, 4, 3, 5, 2)])
    def test_every_shape_is_coded_or_refused_with_a_reason(self, codec: str, shape: tuple[int, ...]) -> None:
        x = np.random.default_rng(0).laplace(size=(400, *shape[1:]))
        data = (
            x.astype(np.float32) if "float32" in _types(codec) else np.clip(np.rint(9 * x), -128, 127).astype(np.int8)
        )
        reason = REGISTRY[codec].refuses(shape, str(data.dtype))
        layer = frozen_layer(data.shape[1], data.shape[1])
        given = Context(
            layer_input=data if data.ndim == 4 else None, convolution=layer, training=NoSteps(), channel=CHANNEL
        )
        if reason is not None:
            assert len(reason) > 10
            with pytest.raises(FitError):
                fit_one(REGISTRY[codec], data, 0, given)
            return
        try:
            fit = fit_one(REGISTRY[codec], data, 0, given)
        except FitError as refusal:  # of what only the data tells: too few vectors, too small a picture
            reason = str(refusal)
        if reason is not None:
            assert "need" in reason or "takes pictures" in reason
            return
        tensors = Ends(fit).tensors(data[:1])
        decoded = load_coders(save_coders([fit.coder]))[0].decode(fit.coder.encode(tensors))
        if fit.boundary == "symbols":
            assert all(np.array_equal(decoded[name], values) for name, values in sent(fit.coder, tensors).items())
        assert Ends(fit).tensor(decoded).shape == shape

    def test_fitting_twice_gives_the_same_graphs_and_tables(self, codec: str) -> None:
        x = activations(codec)
        first, second = fitted(codec, 0), fit_one(REGISTRY[codec], x.copy(), 0, context(codec, x))
        assert (first.encoder, first.decoder) == (second.encoder, second.decoder)
        assert save_coders([first.coder]) == save_coders([second.coder])
        assert first.transform_key == second.transform_key

    def test_graphs_are_valid_from_their_opset_to_todays(self, codec: str) -> None:
        fit = fitted(codec, 0)
        for graph in (fit.encoder, fit.decoder):
            if graph is None:
                continue
            model = onnx.load_from_string(graph)
            assert model.ir_version <= 10
            for opset in (model.opset_import[0].version, 17, 18, 21):
                model.opset_import[0].version = opset
                onnx.checker.check_model(model, full_check=True)

    def test_nan_and_infinity_are_refused_by_name(self, codec: str) -> None:
        x = activations(codec)
        if x.dtype != np.float32:
            return
        for value, name in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
            bad = x.copy()
            bad[3, 2, 1, 0] = value
            with pytest.raises(FitError, match=rf"\(3, 2, 1, 0\) is {name}"):
                fit_one(REGISTRY[codec], bad, 0, context(codec, bad))

    def test_other_shapes_and_types_are_refused_with_the_codecs_name(self, codec: str) -> None:
        assert REGISTRY[codec].refuses((2, 8, 8, 8), "float32")
        assert REGISTRY[codec].refuses((1, 0, 8, 8), "float32")
        assert REGISTRY[codec].refuses((1, 8, 8, 8), "complex64")
        x = activations(codec)
        with pytest.raises(FitError):
            fit_one(REGISTRY[codec], x.astype(np.complex64), 0, context(codec, x))

    def test_missing_or_wrong_tensors_are_refused(self, codec: str) -> None:
        coder = fitted(codec, 0).coder
        tensors = Ends(fitted(codec, 0)).tensors(activations(codec)[:1])
        name = coder.specs[0].name
        with pytest.raises(CodecError, match="missing"):
            coder.encode({})
        with pytest.raises(CodecError, match="expected"):
            coder.encode({**tensors, name: tensors[name][:, :0]})

    def test_every_truncation_and_flip_is_caught_by_the_checksum(self, codec: str) -> None:
        fit = fitted(codec, 0)
        payload = fit.coder.encode(Ends(fit).tensors(activations(codec)[:1]))
        number = CODEC_IDS[codec]

        def unpack(data: bytes) -> list[bytes]:
            return container.unpack(data, codec_id=number, plan_hash=PLAN, count=1)[1]

        stream = container.pack([payload], codec_id=number, rate=0, plan_hash=PLAN)
        assert unpack(stream) == [payload]
        assert len(stream) - len(payload) <= 20
        for end in range(len(stream)):
            with pytest.raises(PayloadError):
                unpack(stream[:end])
        generator = np.random.default_rng(2)
        for bit in generator.integers(0, 8 * len(stream), FLIPS):
            broken = bytearray(stream)
            broken[bit // 8] ^= 1 << (bit % 8)
            with pytest.raises(PayloadError):
                unpack(bytes(broken))

    def test_faults_behind_a_right_checksum_end_in_an_error_or_a_right_shaped_result(self, codec: str) -> None:
        fit = fitted(codec, 0)
        payload = fit.coder.encode(Ends(fit).tensors(activations(codec)[:1]))
        generator = np.random.default_rng(3)
        seen = 0
        for trial in range(RECOMPUTED):
            broken = bytearray(payload)
            match trial % 4:
                case 0:
                    broken[generator.integers(len(broken))] ^= 1 << generator.integers(8)
                case 1:
                    del broken[generator.integers(len(broken)) :]
                case 2:
                    broken = bytearray(generator.bytes(int(generator.integers(1, 2 * len(payload) + 8))))
                case _:
                    broken += generator.bytes(int(generator.integers(1, 64)))
            stream = container.pack([bytes(broken)], codec_id=1, rate=0, plan_hash=PLAN)
            assert zlib.crc32(stream[:-4]) == int.from_bytes(stream[-4:], "little")
            _, [data] = container.unpack(stream, codec_id=1, plan_hash=PLAN, count=1)
            try:
                decoded = fit.coder.decode(data)
            except PayloadError:
                seen += 1
                continue
            check_tensors(fit.coder.specs, decoded)
        assert seen > 0  # at least the truncated ones


@pytest.mark.parametrize(("codec", "kind"), sorted(OPTIONAL.items()))
def test_what_is_not_installed_is_said_with_the_pip_command(codec: str, kind: str) -> None:
    reason = missing(kind)
    x = activations(codec)
    if reason is None:
        assert fit_one(REGISTRY[codec], x, 0, context(codec, x)).coder.specs
    else:
        assert "pip install" in reason
        with pytest.raises(FitError, match="pip install"):
            fit_one(REGISTRY[codec], x, 0, context(codec, x))


def test_unknown_codecs_get_a_suggestion() -> None:
    with pytest.raises(CodecError, match="did you mean 'brito-sq'"):
        get("brito-sk")
    with pytest.raises(CodecError, match="pictures"):
        get("jpeg")


def test_codec_ids_are_unique() -> None:
    assert len(set(CODEC_IDS.values())) == len(CODEC_IDS)
