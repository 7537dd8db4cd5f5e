"""Device prediction against hand computation, its monotony, and serial code."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import (
    Coder,
    Compute,
    Device,
    Kernels,
    Memory,
    OpWork,
    Runtime,
    Serial,
    predict_node_s,
    predict_run_s,
    predict_s,
    serial_factor,
    serial_s,
)

DEVICE = Device(
    name="d",
    description="",
    runtime=Runtime(name="r", provider="p", threads=2, precision="fp32"),
    compute=Compute(
        dense_macs_s=8e9,
        pointwise_macs_s=4e9,
        depthwise_macs_s=1e9,
        matmul_macs_s=2e9,
        bytes_s=1e9,
        node_overhead_s=1e-5,
        run_overhead_s=1e-4,
    ),
)


def op(op_class: str = "dense", macs: int | None = 8_000_000, moved: int = 0, weights: int = 0) -> OpWork:
    return OpWork(
        op_class=op_class,  # type: ignore[arg-type]  # a test passes plain text
        macs=macs,
        read_bytes=moved,
        write_bytes=0,
        weight_bytes=weights,
    )


@pytest.mark.parametrize(
    ("op_class", "arithmetic_s"), [("dense", 1e-3), ("pointwise", 2e-3), ("depthwise", 8e-3), ("matmul", 4e-3)]
)
def test_an_operator_takes_its_arithmetic_or_its_traffic(op_class: str, arithmetic_s: float) -> None:
    light, heavy = op(op_class, moved=1000), op(op_class, moved=20_000_000)
    assert predict_s(DEVICE, [light]) == pytest.approx([arithmetic_s + 1e-5])
    assert predict_s(DEVICE, [heavy]) == pytest.approx([20e-3 + 1e-5])


def test_an_uncounted_operator_is_priced_by_bytes_never_zero() -> None:
    assert predict_node_s(DEVICE, "other", None, bytes_moved=3e6, weight_bytes=1e6) == pytest.approx(4e-3 + 1e-5)
    assert predict_node_s(DEVICE, "other", None, bytes_moved=0, weight_bytes=0) == 1e-5


def test_a_run_adds_its_overhead_once_and_nothing_takes_no_time() -> None:
    ops = [op(), op("depthwise")]
    assert predict_run_s(DEVICE, ops) == pytest.approx(1e-4 + sum(predict_s(DEVICE, ops)))
    assert predict_run_s(DEVICE, []) == 0
    assert predict_s(DEVICE, []).shape == (0,)


def test_int8_moves_a_quarter_of_the_bytes_of_an_fp32_graph() -> None:
    int8 = msgspec.structs.replace(DEVICE, runtime=Runtime(name="r", provider="p", threads=1, precision="int8"))
    work = op("other", None, moved=4_000_000)
    assert predict_s(int8, [work])[0] == pytest.approx(1e-3 + 1e-5)
    quantized = OpWork(op_class="other", macs=None, read_bytes=10**6, write_bytes=0, weight_bytes=0, element_bytes=1)
    assert predict_s(int8, [quantized])[0] == predict_s(DEVICE, [quantized])[0]


def test_weights_beyond_the_fast_memory_stream_at_every_run() -> None:
    memory = Memory(fast_weight_bytes=8_000_000, weight_stream_bytes_s=4e8)
    cliff = msgspec.structs.replace(DEVICE, memory=memory)
    below, above = [op(macs=0, weights=4_000_000)] * 2, [op(macs=0, weights=4_000_000)] * 3
    assert predict_s(cliff, below) == pytest.approx(predict_s(DEVICE, below))
    streamed = predict_s(cliff, above)
    assert streamed[2] == pytest.approx(4_000_000 / 4e8 + 1e-5)  # the third operator's weights, and no second reading
    partly = predict_s(cliff, [op(macs=0, weights=9_000_000)])
    assert partly[0] == pytest.approx(1_000_000 / 4e8 + 1e-5)


works = st.lists(
    st.builds(
        OpWork,
        op_class=st.sampled_from(["dense", "pointwise", "depthwise", "matmul", "other"]),
        macs=st.none() | st.integers(0, 10**10),
        read_bytes=st.integers(0, 10**8),
        write_bytes=st.integers(0, 10**8),
        weight_bytes=st.integers(0, 10**8),
        element_bytes=st.sampled_from([1, 2, 4]),
    ),
    max_size=6,
)


@given(works, st.floats(1, 100))
def test_a_faster_device_is_never_slower(ops: list[OpWork], factor: float) -> None:
    rates = {
        name: getattr(DEVICE.compute, name) * factor
        for name in ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s")
    }
    faster = msgspec.structs.replace(DEVICE, compute=msgspec.structs.replace(DEVICE.compute, **rates))
    assert predict_run_s(faster, ops) <= predict_run_s(DEVICE, ops)
    assert (predict_s(DEVICE, ops) >= DEVICE.compute.node_overhead_s).all()


def test_serial_code_is_measured_here_or_scaled_from_the_host() -> None:
    coder = Coder(encode_s_per_symbol=1e-9, decode_s_per_symbol=2e-9, call_s=1e-6)
    host = msgspec.structs.replace(
        DEVICE, name="h", compute=msgspec.structs.replace(DEVICE.compute, pointwise_macs_s=12e9), serial=Serial()
    )
    host = msgspec.structs.replace(host, serial=Serial(coders={"huffman": coder}))
    assert serial_factor(DEVICE, host) == pytest.approx(3.0)
    assert serial_s(DEVICE, host, "huffman", 1000, direction="encode") == pytest.approx(3 * (1e-6 + 1e-6))
    assert serial_s(host, host, "huffman", 1000, direction="decode") == pytest.approx(1e-6 + 2e-6)
    own = msgspec.structs.replace(DEVICE, serial=Serial(coders={"huffman": coder}))
    assert serial_s(own, host, "huffman", 1000, direction="encode") == pytest.approx(2e-6)
    thread = msgspec.structs.replace(DEVICE, serial=Serial(thread_macs_s=6e9))
    assert serial_factor(thread, host) == pytest.approx(1.0)
    with pytest.raises(ProfileError, match="neither 'd' nor the host 'h' has measured the coder 'rans'"):
        serial_s(DEVICE, host, "rans", 1, direction="encode")


def test_the_limit_of_a_head_is_the_model_memory_else_the_ram() -> None:
    assert DEVICE.head_limit_bytes is None
    assert msgspec.structs.replace(DEVICE, memory=Memory(ram_bytes=10)).head_limit_bytes == 10
    assert msgspec.structs.replace(DEVICE, memory=Memory(ram_bytes=10, model_bytes=4)).head_limit_bytes == 4


def test_with_kernels_the_seconds_of_an_operator_are_a_sum() -> None:
    kernels = Kernels(
        winograd_macs_s=4e9,
        winograd_read_bytes_s=1e9,
        pointwise_read_bytes_s=2e9,
        wide_depthwise_macs_s=1e8,
        grouped_macs_s=5e8,
        chain_macs_s=2e8,
        suppression_macs_s=3e8,
        other_bytes_s=1e9,
        moved_bytes_s=5e8,
        other_overhead_s=2e-6,
    )
    own = msgspec.structs.replace(DEVICE, compute=msgspec.structs.replace(DEVICE.compute, kernels=kernels))
    compute = own.compute

    def work(op_class: str, kernel: str) -> OpWork:
        return OpWork(
            op_class=op_class,  # type: ignore[arg-type]  # keys of the table below
            macs=1_000_000 if op_class != "other" or kernel == "boxes" else None,
            read_bytes=3000,
            write_bytes=1000,
            weight_bytes=100,
            kernel=kernel,  # type: ignore[arg-type]
        )

    # 1,000 bytes are 250 elements, each of 4,000 multiply-adds one after another.
    weighted_s = compute.node_overhead_s + 4000 / compute.bytes_s + 4000 / 2e8
    expected = {
        ("dense", "plain"): weighted_s + 1e6 / compute.dense_macs_s,
        ("dense", "winograd"): weighted_s + 1e6 / 4e9 + 3000 / 1e9,
        ("dense", "grouped"): weighted_s + 1e6 / 5e8,
        ("pointwise", "plain"): weighted_s + 1e6 / compute.pointwise_macs_s + 3000 / 2e9,
        ("depthwise", "wide"): weighted_s + 1e6 / 1e8,
        ("matmul", "plain"): compute.node_overhead_s + 1e6 / compute.matmul_macs_s,
        ("other", "plain"): 2e-6 + 4000 / 1e9,
        ("other", "moves"): 2e-6 + 4000 / 5e8,
        ("other", "boxes"): 2e-6 + 4000 / 1e9 + 1e6 / 3e8,
        ("other", "fused"): 0.0,
    }
    for (op_class, kernel), seconds in expected.items():
        one = work(op_class, kernel)
        assert predict_s(own, [one]) == pytest.approx([seconds]), (op_class, kernel)
        twice = dataclasses.replace(one, operators=2)
        assert predict_s(own, [twice])[0] - seconds == pytest.approx(
            0.0 if kernel == "fused" else 2e-6 if op_class == "other" else compute.node_overhead_s
        )
        # A profile without them does not look at the kernel.
        assert predict_s(DEVICE, [one]) == predict_s(DEVICE, [dataclasses.replace(one, kernel="plain")])
