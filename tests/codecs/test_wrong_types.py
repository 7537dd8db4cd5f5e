"""Wrong types and numbers in calls of the codecs are `CodecError`, those of payloads `PayloadError`; nothing else."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array, CodecError, Context, FittedCodec, PayloadError, fit_one
from splitpoint.codecs.fitted import load_fitted
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY, get
from splitpoint.codecs.store import load_coders
from splitpoint.tests.fuzz.test_fuzz_codec_files import PRESETS, subject_of
from splitpoint.tests.fuzz.test_fuzz_presets import fitted

NO_PAYLOADS: tuple[Any, ...] = (None, "text", [1, 2], np.zeros(40, np.uint8), 7, {"x": b""}, object())
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
PICTURES_HERE = [name for name, codec in PICTURES.items() if codec.refuses() is None]
RATES: tuple[Any, ...] = (-1, 99, None, "0", 0.5, [0])


@functools.cache
def fit_of(coder: str) -> tuple[FittedCodec, bytes]:
    return fitted(PRESETS[coder])[0], subject_of(coder)[2]


@pytest.mark.parametrize("coder", PRESETS)
@pytest.mark.parametrize("payload", NO_PAYLOADS, ids=lambda value: type(value).__name__)
def test_what_is_no_payload_is_refused(coder: str, payload: Any) -> None:
    with pytest.raises(PayloadError, match=f"a payload is bytes, got {type(payload).__name__}"):
        fit_of(coder)[0].coder.decode(payload)


@pytest.mark.parametrize("coder", PRESETS)
def test_other_kinds_of_bytes_give_the_same(coder: str) -> None:
    fit, payload = fit_of(coder)
    expected = fit.coder.decode(payload)
    spaced = bytearray(2 * len(payload))
    spaced[::2] = payload
    for same in (bytearray(payload), memoryview(payload), memoryview(bytes(spaced))[::2]):
        decoded = fit.coder.decode(same)  # type: ignore[arg-type]  # bytes are asked for
        assert all(np.array_equal(decoded[name], x) for name, x in expected.items())


@pytest.mark.parametrize("coder", PRESETS)
def test_tensors_of_other_types_are_refused(coder: str) -> None:
    fit, payload = fit_of(coder)
    good = fit.coder.decode(payload)
    name = next(iter(good))
    wrong: list[Any] = [None, [good[name]], good[name], "x", {}, {1: 2}, {name: None}, {name: good[name].tolist()}]
    wrong += [{**good, name: x} for x in (3, "x", good[name].astype(np.complex128), good[name][..., :0])]
    wrong += [
        {**good, name: np.zeros(good[name].shape, object)},
        {**good, name: good[name].astype(good[name].dtype.newbyteorder(">"))},
    ]
    for tensors in wrong:
        if isinstance(tensors, dict) and isinstance(x := tensors.get(name), np.ndarray) and x.dtype == good[name].dtype:
            continue  # one byte has no order
        with pytest.raises(CodecError, match=r"expected|missing"):
            fit.coder.encode(tensors)


@pytest.mark.parametrize("name", PICTURES_HERE)
def test_what_is_no_picture_and_no_rate_is_refused(name: str) -> None:
    codec = PICTURES[name]
    wrong: list[Any] = [None, PICTURE.tolist(), b"bytes", PICTURE[0], PICTURE.astype(np.int16), PICTURE[:, :, :2]]
    for picture in wrong:
        with pytest.raises(CodecError, match="expected a uint8 picture"):
            codec.encode(picture, 0)
    for rate in RATES:
        with pytest.raises(CodecError, match=r"has rates 0\.\."):
            codec.encode(PICTURE, rate)
    assert codec.encode(PICTURE, np.int64(0)) == codec.encode(PICTURE, 0)  # type: ignore[arg-type]  # an index


@pytest.mark.parametrize("name", PICTURES_HERE)
def test_what_is_no_picture_file_and_no_size_is_refused(name: str) -> None:
    codec = PICTURES[name]
    good = codec.encode(PICTURE, 0)
    for payload in NO_PAYLOADS:
        with pytest.raises(PayloadError, match="a payload is bytes"):
            codec.decode(payload, (16, 16))
    sizes: tuple[Any, ...] = (None, 16, (16,), (16, "16"), (0, 16), (16, -1), (16.0, 16.0), [16, 16])
    for size in sizes:
        with pytest.raises(CodecError, match="expected the size"):
            codec.decode(good, size)
    assert np.array_equal(codec.decode(bytearray(good), (16, 16)), codec.decode(good, (16, 16)))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, "codec.npz", [b"x"], np.zeros(9, np.uint8), 3], ids=lambda v: type(v).__name__)
def test_what_is_no_file_is_refused(value: Any) -> None:
    with pytest.raises(CodecError, match=r"expected bytes or a Path, got"):
        load_coders(value)
    with pytest.raises(CodecError, match=r"expected bytes, got"):
        load_fitted(value)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path("nul\0byte")):
        with pytest.raises(CodecError, match="cannot be read"):
            load_coders(path)


@pytest.mark.parametrize("name", [None, 3, ["raw"], b"raw", "nothing", ""], ids=repr)
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(CodecError, match="known: assine-pca"):
        get(name)


@pytest.mark.parametrize("name", ["fast", "raw", "kltq-ctx", "brito-tcq", "integers"])
def test_fitting_to_what_is_no_array_or_at_no_rate_is_refused(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(4, 2, 4, 4)).astype(np.int8 if name == "integers" else np.float32)
    wrong: list[Any] = [None, x.tolist(), "x", np.float32(3)]
    for activations in wrong:
        with pytest.raises(CodecError, match="activations"):
            fit_one(REGISTRY[name], activations, 0, Context())
    for rate in RATES:
        with pytest.raises(CodecError, match=r"has rates 0\.\."):
            fit_one(REGISTRY[name], x, rate, Context())


def test_a_coder_with_the_wrong_arrays_is_refused_by_itself() -> None:
    """`from_arrays` of every coder, without the checks of the file around it."""
    generator = np.random.default_rng(0)
    odd: list[Array] = [
        *(np.zeros(0, np.uint8), np.zeros((1,) * 20, np.int64), np.array("x"), np.array([np.nan]), np.array(1j)),
        *(
            generator.integers(0, 9, (300, 2000)).astype(np.uint8),
            np.full(3, 2**63 - 1),
            np.array([2**64 - 1], np.uint64),
        ),
    ]
    for coder in PRESETS:
        fit, _ = fit_of(coder)
        arrays = fit.coder.arrays()
        for name in arrays:
            for x in odd:
                with pytest.raises(CodecError):
                    type(fit.coder).from_arrays(fit.coder.specs, {**arrays, name: x})  # type: ignore[attr-defined]
