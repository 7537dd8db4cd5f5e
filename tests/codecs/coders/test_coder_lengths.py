"""Lengths of the entropy coders against their own probabilities, optimal codes against an independent construction."""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman, code_lengths
from splitpoint.codecs.coders.layout import to_channels
from splitpoint.codecs.coders.packed import ZSTD_OVERHEAD_BYTES, Packed, packed_bytes
from splitpoint.codecs.coders.rans import Rans, frequencies
from splitpoint.codecs.coders.tables import count_symbols
from splitpoint.codecs.contract.preset import CoderFit
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec
from splitpoint.codecs.pictures.tiles import TILE_OVERHEAD_BYTES, Tiles, grid, picture_size, tile, untile

ARITHMETIC_SLACK_BITS = 64  # of a final state or range


def spec(low: int, high: int, dtype: str, shape: tuple[int, ...] = (1, 12, 9, 7)) -> TensorSpec:
    return TensorSpec(name="symbols", shape=shape, dtype=dtype, low=low, high=high, channel_axis=1)


BYTES = spec(0, 255, "uint8")
NIBBLES = spec(0, 15, "uint8")
GRID = spec(-32767, 32767, "int16")


def symbols(of: TensorSpec, seed: int, count: int = 30, wide: float = 1.0) -> Array:
    generator = np.random.default_rng(seed)
    scale = wide * np.exp(generator.uniform(-2, 2.5, (1, of.shape[1], 1, 1)))
    values = np.rint(generator.laplace(scale=scale, size=(count, *of.shape[1:])))
    assert of.low is not None
    assert of.high is not None
    centre = 0 if of.low < 0 else (of.low + of.high + 1) // 2
    return np.asarray(np.clip(values + centre, of.low, of.high), of.dtype)


KINDS = [BYTES, NIBBLES, GRID]
CODERS: list[CoderFit] = [
    Huffman(per_channel=False),
    Huffman(),
    Rans(per_channel=False),
    Rans(),
    ContextCode(),
    Packed(),
    Packed(level=19),
]


@pytest.mark.parametrize("of", KINDS, ids=["bytes", "nibbles", "grid"])
@pytest.mark.parametrize("kind", CODERS, ids=str)
def test_symbols_that_calibration_never_saw_come_back(kind: CoderFit, of: TensorSpec) -> None:
    coder = kind.fit((of,), {"symbols": symbols(of, 0)})
    generator = np.random.default_rng(1)
    for wild in (
        symbols(of, 2, 1),
        symbols(of, 3, 1, wide=20.0),
        generator.integers(of.low or 0, of.high or 0, of.shape, endpoint=True).astype(of.dtype),
        np.full(of.shape, of.low, of.dtype),
        np.full(of.shape, of.high, of.dtype),
    ):
        payload = coder.encode({"symbols": wild})
        assert np.array_equal(coder.decode(payload)["symbols"], wild)


@pytest.mark.parametrize("of", KINDS, ids=["bytes", "nibbles", "grid"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("wide", [0.3, 1.0, 8.0])
def test_huffman_payloads_are_exactly_their_code_lengths(of: TensorSpec, per_channel: bool, wide: float) -> None:
    coder = Huffman(per_channel=per_channel).fit((of,), {"symbols": symbols(of, 0)})
    one = symbols(of, 5, 1, wide)
    rows = to_channels(one, of)
    own, fallback = coder.bits(rows, fallback=False), coder.bits(rows, fallback=True)
    assert len(coder.encode({"symbols": one})) == (1 + min(own, fallback) + 7) // 8


@pytest.mark.parametrize("of", KINDS, ids=["bytes", "nibbles", "grid"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("wide", [0.05, 1.0, 8.0])
def test_rans_payloads_are_within_a_state_of_their_information(of: TensorSpec, per_channel: bool, wide: float) -> None:
    coder = Rans(per_channel=per_channel).fit((of,), {"symbols": symbols(of, 0)})
    one = symbols(of, 5, 1, wide)
    rows = to_channels(one, of)
    information = min(coder.bits(rows, fallback=False), coder.bits(rows, fallback=True))
    rounding = one.size / 512  # of costs to 1/256 bit a symbol
    length = 8 * len(coder.encode({"symbols": one}))
    assert information - rounding <= length <= information + rounding + ARITHMETIC_SLACK_BITS


@pytest.mark.parametrize("of", KINDS, ids=["bytes", "nibbles", "grid"])
@pytest.mark.parametrize("wide", [0.05, 1.0, 8.0, 300.0])
def test_context_payloads_are_within_a_range_of_their_information(of: TensorSpec, wide: float) -> None:
    coder = ContextCode().fit((of,), {"symbols": symbols(of, 0)})
    one = {"symbols": symbols(of, 5, 1, wide)}
    information = coder.bits(one)
    # The decoder reads zeros behind the end, so where a payload ends is itself worth up to a byte.
    assert information - 8 <= 8 * len(coder.encode(one)) <= information + ARITHMETIC_SLACK_BITS


def test_a_foreign_tensor_takes_the_global_fallback() -> None:
    coder = Rans().fit((GRID,), {"symbols": symbols(GRID, 0)})
    foreign = {"symbols": np.ascontiguousarray(symbols(GRID, 0, 1)[:, ::-1])}
    rows = to_channels(foreign["symbols"], GRID)
    assert coder.bits(rows, fallback=True) < coder.bits(rows, fallback=False)
    payload = coder.encode(foreign)
    assert payload[0] >> 7 == 1
    assert np.array_equal(coder.decode(payload)["symbols"], foreign["symbols"])
    assert coder.encode({"symbols": symbols(GRID, 0, 1)})[0] >> 7 == 0


@pytest.mark.parametrize("of", [BYTES, NIBBLES, GRID], ids=["bytes", "nibbles", "grid"])
def test_zstd_never_expands_beyond_its_constant(of: TensorSpec) -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(of.low or 0, of.high or 0, of.shape, endpoint=True).astype(of.dtype)
    coder = Packed().fit((of,), {"symbols": noise})
    assert len(coder.encode({"symbols": noise})) <= packed_bytes(of) + ZSTD_OVERHEAD_BYTES


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("count", [1, 8, 13, 64])
def test_tiles_never_expand_beyond_their_constant(kind: str, count: int) -> None:
    of = spec(0, 255, "uint8", (1, count, 11, 6))
    noise = np.random.default_rng(0).integers(0, 255, of.shape, endpoint=True).astype(np.uint8)
    coder = Tiles(kind="png" if kind == "png" else "webp").fit((of,), {"symbols": noise})
    payload = coder.encode({"symbols": noise})
    height, width = picture_size(of)
    assert len(payload) <= height * width * 1.001 + TILE_OVERHEAD_BYTES
    assert np.array_equal(coder.decode(payload)["symbols"], noise)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 1)), (2, (1, 2)), (8, (2, 4)), (16, (4, 4)), (33, (8, 8)), (128, (8, 16))]
)
def test_the_grid_is_chois(count: int, expected: tuple[int, int]) -> None:
    assert grid(count) == expected
    exponent = np.log2(1 << max(count - 1, 0).bit_length()) / 2
    assert expected == (2 ** int(np.floor(exponent)), 2 ** int(np.ceil(exponent)))
    maps = np.random.default_rng(0).integers(0, 256, (count, 3, 5)).astype(np.uint8)
    picture = tile(maps)
    assert picture.shape == (expected[0] * 3, expected[1] * 5)
    assert np.array_equal(picture[:3, :5], maps[0])
    assert np.array_equal(untile(picture, maps.shape), maps)


def optimal_cost(counts: list[int]) -> int:
    """The least sum of count x length: the sum of all merged weights (Huffman by a heap, lengths never built)."""
    heap = [c for c in counts if c]
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=80).filter(lambda counts: sum(c > 0 for c in counts) >= 2))
@settings(max_examples=150, deadline=None)
def test_code_lengths_are_optimal_and_within_a_bit_of_the_entropy(counts: list[int]) -> None:
    lengths = code_lengths(np.array([counts], np.int64))[0]
    used = np.array(counts) > 0
    assert ((lengths > 0) == used).all()
    assert (2.0 ** -lengths[used].astype(float)).sum() == 1
    cost = int((np.array(counts) * lengths).sum())
    assert cost == optimal_cost(counts)
    p = np.array(counts)[used] / sum(counts)
    entropy = float(-(p * np.log2(p)).sum())
    assert entropy - 1e-9 <= cost / sum(counts) < entropy + 1


def test_fibonacci_counts_stay_within_the_longest_code() -> None:
    counts = [1, 1]
    while len(counts) < 60:
        counts.append(counts[-1] + counts[-2])
    assert code_lengths(np.array([counts[:28]], np.int64)).max() == 27
    lengths = code_lengths(np.array([counts], np.int64))[0]
    assert lengths.max() <= 30
    assert (2.0 ** -lengths.astype(float)).sum() == 1


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=300).filter(lambda counts: sum(counts) > 0))
@settings(max_examples=100, deadline=None)
def test_frequencies_sum_to_their_scale_and_cost_little(counts: list[int]) -> None:
    values = np.array([counts], np.int64)
    table = frequencies(values)[0].astype(np.int64)
    used = values[0] > 0
    assert table.sum() == 1 << 14
    assert ((table > 0) == used).all()
    p, q = values[0][used] / values.sum(), table[used] / (1 << 14)
    loss = float((p * np.log2(p / q)).sum())
    # Rounding to 2^-14, and at most 2^-14 taken by each of the symbols that are rarer than that.
    assert loss <= 2.0 * len(counts) / (1 << 14) + 1e-9


def test_many_channels_share_tables_of_like_statistics() -> None:
    of = spec(-32767, 32767, "int16", (1, 900, 2, 2))
    counts = count_symbols((of,), symbols(of, 0, 20), per_channel=True)
    assert counts.values.shape[0] == 65
    assert np.bincount(counts.rows).max() <= 15
    assert counts.values[-1, :-1].sum() == counts.values[:-1, :-1].sum()


def test_two_threads_write_the_same_bytes_as_one() -> None:
    for kind in CODERS:
        coder = kind.fit((GRID,), {"symbols": symbols(GRID, 0)})
        jobs = [{"symbols": symbols(GRID, seed, 1)} for seed in range(12)]
        alone = [coder.encode(job) for job in jobs]
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(coder.encode, jobs)) == alone
            for job, decoded in zip(jobs, pool.map(coder.decode, alone), strict=True):
                assert np.array_equal(decoded["symbols"], job["symbols"])


def test_symbols_out_of_range_are_refused() -> None:
    coder = Rans().fit((NIBBLES,), {"symbols": symbols(NIBBLES, 0)})
    bad = symbols(NIBBLES, 0, 1)
    bad[0, 0, 0, 0] = 16
    with pytest.raises(CodecError, match=r"expected 0\.\.15, got 0\.\.16|expected 0\.\.15"):
        coder.encode({"symbols": bad})


def test_side_information_must_be_finite() -> None:
    side = TensorSpec(name="minima", shape=(1, 3), dtype="float16", side=True)
    coder = Rans().fit((NIBBLES, side), {"symbols": symbols(NIBBLES, 0)})
    tensors = {"symbols": symbols(NIBBLES, 0, 1), "minima": np.array([[1, 2, 3]], np.float16)}
    payload = coder.encode(tensors)
    assert np.array_equal(coder.decode(payload)["minima"], tensors["minima"])
    broken = np.array([np.inf], np.float16).astype("<f2").tobytes() + payload[2:]
    with pytest.raises(PayloadError, match="not finite"):
        coder.decode(broken)


def test_the_context_coder_takes_ranges_that_its_escape_can_code() -> None:
    most = (1 << 17) - 1
    widest = spec(-most // 2, most + -most // 2, "int32", (1, 2, 2, 2))
    assert widest.low is not None
    assert widest.high is not None
    coder = ContextCode().fit((widest,), {"symbols": np.zeros((3, 2, 2, 2), np.int32)})
    ends = np.array([widest.low, widest.high] * 4, np.int32).reshape(1, 2, 2, 2)
    assert np.array_equal(coder.decode(coder.encode({"symbols": ends}))["symbols"], ends)
    wider = spec(widest.low, widest.high + 1, "int32", (1, 2, 2, 2))
    with pytest.raises(CodecError, match=f"expected a range of up to {most}"):
        type(coder).from_arrays((wider,), coder.arrays())
    with pytest.raises(CodecError, match=f"expected a range of up to {most}"):
        ContextCode().fit((wider,), {"symbols": np.zeros((3, 2, 2, 2), np.int32)})


@pytest.mark.parametrize("shape", [(1, 1, 16383, 8193), (1, 4, 10, 8192), (1, 1, 1, 16384)])
def test_tiles_that_make_too_large_a_picture_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CodecError, match="expected sides up to 16383 and up to 134217728 pixels"):
        Tiles(kind="webp").fit((spec(0, 255, "uint8", shape),), {})
