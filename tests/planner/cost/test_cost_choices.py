"""Every choice of the cost model by closed form: whose speed, which direction, who prepares, what is not known."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import FittedCodec, TensorSpec
from splitpoint.planner.cost.memory import stored_scale
from splitpoint.planner.cost.message import ANSWER_BYTES, Channel, send
from splitpoint.planner.cost.price import (
    PREPROCESS,
    CodingWork,
    Party,
    cost_of_picture,
    cost_of_split,
    cost_on_device,
    op_work,
    other_half,
    over,
    party,
    work_of,
)
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.timed import Timed
from splitpoint.profiles.link.link import FixedLink, Radio
from splitpoint.profiles.machine.device import Coder, Compute, Device, OpWork, Power, Price, Runtime, Serial, predict_s
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

CHAIN = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,8] y) <float[4,8] w> {
  a = Sigmoid(x)  b = Tanh(a)  y = MatMul(b, w) }"""
NODE_S = (1.0, 2.0, 4.0)
PIXELS, SYMBOLS = 100, 7
LINK = FixedLink(
    name="link",
    description="",
    uplink_bit_s=1e6,
    downlink_bit_s=2e6,
    rtt_s=0.01,
    per_packet_overhead_bytes=0,
    radio=Radio(tx_base_w=1.0, tx_j_per_bit=1e-7, rx_base_w=0.5, rx_j_per_bit=2e-7),
    usd_byte=1e-9,
)


def machine(name: str, speed: float, *, own: bool = True, **changes: object) -> Device:
    """Coders of `speed` seconds a symbol encode and twice that decode; `own`: measured on this device."""
    names = ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s")
    rates: Any = dict.fromkeys(names, 1e3)
    compute = Compute(
        **rates,
        node_overhead_s=speed,
        run_overhead_s=0.25,
    )
    coders = {
        coder: Coder(encode_s_per_symbol=i * speed, decode_s_per_symbol=2 * i * speed)
        for i, coder in enumerate(("rans", "jpeg", PREPROCESS), start=1)
    }
    base = Device(
        name=name,
        description="",
        runtime=Runtime(name="onnxruntime", provider="CPUExecutionProvider", threads=1, precision="fp32"),
        compute=compute,
        power=Power(idle_w=2.0, active_w=5.0, measured_at="test"),
        price=Price(usd_s=3.0, usd_request=0.5),
        serial=Serial(coders=coders if own else {}, zstd_bytes_s=1e8 / speed),
    )
    return msgspec.structs.replace(base, **changes)


EDGE, SERVER, HOST = machine("edge", 0.010), machine("server", 0.001), machine("host", 0.1)


@pytest.fixture(scope="module")
def graph(nets: ModuleType) -> ModelGraph:
    return load_graph(nets.with_weights(CHAIN))


@pytest.fixture(scope="module")
def cut(graph: ModelGraph) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.name == "b")


def runs(device: Device, *, how: str = "modelled", factor: float = 1.0, retest_error: float | None = None) -> Party:
    seconds = factor * np.array(NODE_S)
    return Party(device=device, node_s=seconds, run_s=0.25, how=how, retest_error=retest_error)  # type: ignore[arg-type]


def split(graph: ModelGraph, cut: Cut, *, payload_bytes: float = 500.0, **changes: Any) -> Cost:
    settings: dict[str, Any] = {
        "work": CodingWork(symbols=(("rans", SYMBOLS),), encoder=(), decoder=(), table_bytes=100, weight_bytes=40),
        "peak_bytes": 1001,
        "prepare_symbols": PIXELS,
        "edge": runs(EDGE),
        "server": runs(SERVER, factor=0.1),
        "host": HOST,
        "channel": Channel(link=LINK),
    }
    return cost_of_split(graph=graph, cut=cut, payload_bytes=payload_bytes, **settings | changes)


def picture(graph: ModelGraph, **changes: Any) -> Cost:
    settings: dict[str, Any] = {
        "coder": "jpeg",
        "pixels": PIXELS,
        "payload_bytes": 500.0,
        "prepare_symbols": PIXELS,
        "edge": runs(EDGE),
        "server": runs(SERVER, factor=0.1),
        "host": HOST,
        "channel": Channel(link=LINK),
    }
    return cost_of_picture(graph=graph, **settings | changes)


def alone(graph: ModelGraph, **changes: Any) -> Cost:
    settings: dict[str, Any] = {"peak_bytes": 1001, "prepare_symbols": PIXELS, "edge": runs(EDGE), "host": HOST}
    return cost_on_device(graph=graph, **settings | changes)


def test_the_parts_of_a_split(graph: ModelGraph, cut: Cut) -> None:
    cost = split(graph, cut)
    assert cost.prepared_by == "device"
    assert cost.prepare_s == pytest.approx(PIXELS * 0.03)
    assert cost.head_s == pytest.approx(0.25 + 1 + 2)
    assert cost.encode_s == pytest.approx(SYMBOLS * 0.01)
    assert cost.link_s == pytest.approx(0.01 + 8 * 500 / 1e6 + 8 * ANSWER_BYTES / 2e6)
    assert cost.decode_s == pytest.approx(SYMBOLS * 0.002)
    assert cost.tail_s == pytest.approx(0.25 + 0.4)
    assert (cost.wait_s, cost.deadline_link_s, cost.infeasible) == (0.0, None, None)
    parts = (cost.prepare_s, cost.head_s, cost.encode_s, cost.link_s, cost.decode_s, cost.tail_s)
    assert cost.latency_s == pytest.approx(sum(parts))
    assert cost.device_s == pytest.approx(cost.prepare_s + cost.head_s + cost.encode_s)
    assert cost.server_s == pytest.approx(cost.decode_s + cost.tail_s)
    assert (cost.payload_bytes, cost.side_bytes) == (500.0, 140)
    assert cost.head_bytes == 0 + 40  # no weights before the cut
    assert (cost.head_peak_bytes, cost.head_file_bytes) == (1041, 140)
    assert (cost.head_spread_s, cost.tail_spread_s) == (None, None)


def test_the_parts_of_a_picture(graph: ModelGraph) -> None:
    cost = picture(graph)
    assert cost.prepared_by == "server"
    assert cost.prepare_s == pytest.approx(PIXELS * 0.003)
    assert (cost.head_s, cost.head_how, cost.head_spread_s) == (0.0, None, None)
    assert cost.encode_s == pytest.approx(PIXELS * 0.02)
    assert cost.decode_s == pytest.approx(PIXELS * 0.004)
    assert cost.tail_s == pytest.approx(0.25 + 0.7)
    assert cost.device_s == cost.encode_s
    assert cost.server_s == pytest.approx(cost.prepare_s + cost.decode_s + cost.tail_s)
    sizes = (cost.side_bytes, cost.head_bytes, cost.head_peak_bytes, cost.head_file_bytes)
    assert sizes == (0, 0, 0, 0)


def test_the_parts_of_all_on_the_device(graph: ModelGraph) -> None:
    cost = alone(graph)
    weights = 4 * 8 * 4
    assert cost.prepared_by == "device"
    assert cost.prepare_s == pytest.approx(PIXELS * 0.03)
    assert cost.head_s == pytest.approx(0.25 + 7)
    assert cost.latency_s == cost.deadline_latency_s == pytest.approx(cost.prepare_s + cost.head_s)
    assert (cost.encode_s, cost.link_s, cost.wait_s, cost.decode_s, cost.tail_s) == (0, 0, 0, 0, 0)
    assert (cost.tail_how, cost.payload_bytes, cost.air_s, cost.radio_j, cost.usd) == (None, 0.0, 0.0, 0.0, 0.0)
    assert (cost.head_bytes, cost.head_file_bytes, cost.head_peak_bytes) == (weights, weights, 1001)
    assert cost.compute_j == pytest.approx(3.0 * cost.latency_s)
    assert cost.idle_j == pytest.approx(2.0 * cost.latency_s)


def test_a_tensor_is_not_prepared_and_needs_no_speed_for_it(graph: ModelGraph, cut: Cut) -> None:
    coders = {name: coder for name, coder in EDGE.serial.coders.items() if name != PREPROCESS}
    bare = msgspec.structs.replace(EDGE, serial=Serial(coders=coders))
    host = msgspec.structs.replace(HOST, serial=Serial(coders=coders))
    for cost in (
        split(graph, cut, edge=runs(bare), host=host, prepare_symbols=0),
        alone(graph, edge=runs(bare), host=host, prepare_symbols=0),
    ):
        assert cost.prepare_s == 0.0


def test_a_coder_that_a_side_has_not_measured_is_the_hosts_scaled(graph: ModelGraph, cut: Cut) -> None:
    """The host's coder takes 0.1 s a symbol, twice that to decode; zstd is 5 times slower on these devices."""
    strange = machine("strange", 0.5, own=False)
    cost = split(graph, cut, edge=runs(strange), server=runs(strange))
    assert cost.encode_s == pytest.approx(5 * SYMBOLS * 0.1)
    assert cost.decode_s == pytest.approx(5 * SYMBOLS * 0.2)
    assert cost.prepare_s == pytest.approx(5 * PIXELS * 0.3)


def test_every_crossing_tensor_and_every_operator_of_a_codec_counts(graph: ModelGraph, cut: Cut) -> None:
    op = OpWork(op_class="other", macs=0, read_bytes=600, write_bytes=400, weight_bytes=0)
    work = CodingWork(
        symbols=(("rans", 3), ("jpeg", 5)), encoder=(op, op), decoder=(op, op, op), table_bytes=0, weight_bytes=0
    )
    cost = split(graph, cut, work=work)
    assert cost.encode_s == pytest.approx(3 * 0.01 + 5 * 0.02 + 2 * (0.010 + 1.0))
    assert cost.decode_s == pytest.approx(3 * 0.002 + 5 * 0.004 + 3 * (0.001 + 1.0))


def test_halves_that_are_known_better_take_the_place_of_predicted_ones(graph: ModelGraph, cut: Cut) -> None:
    head = Timed(seconds=0.3, how="measured", spread_s=0.03)
    tail = Timed(seconds=0.4, how="profiled", spread_s=0.04)
    neither, first, second, both = (
        split(graph, cut, head=a, tail=b) for a, b in ((None, None), (head, None), (None, tail), (head, tail))
    )
    assert [cost.head_s for cost in (neither, first, second, both)] == [3.25, 0.3, 3.25, 0.3]
    assert [cost.tail_s for cost in (neither, first, second, both)] == pytest.approx([0.65, 0.65, 0.4, 0.4])
    assert (both.head_how, both.head_spread_s) == ("measured", 0.03)
    assert (both.tail_how, both.tail_spread_s) == ("profiled", 0.04)
    assert [cost.how for cost in (neither, first, second, both)] == ["modelled", "modelled", "modelled", "profiled"]


ORDER = ("modelled", "profiled", "measured")


@pytest.mark.parametrize(("head", "tail"), list(itertools.product(ORDER, ORDER)))
def test_a_split_is_as_certain_as_its_less_certain_half(graph: ModelGraph, cut: Cut, head: str, tail: str) -> None:
    cost = split(
        graph,
        cut,
        head=Timed(seconds=1.0, how=head, spread_s=None),  # type: ignore[arg-type]
        tail=Timed(seconds=1.0, how=tail, spread_s=None),  # type: ignore[arg-type]
    )
    assert cost.how == ORDER[min(ORDER.index(head), ORDER.index(tail))]


def test_how_seconds_are_known() -> None:
    modelled, profiled = runs(EDGE), runs(EDGE, how="profiled", retest_error=0.02)
    assert modelled.timed([0, 1]) == Timed(seconds=3.25, how="modelled", spread_s=None)
    assert profiled.timed([0, 1]) == Timed(seconds=3.25, how="profiled", spread_s=0.02 * 3.25)
    assert profiled.timed([0, 1, 2]) == Timed(seconds=7.25, how="measured", spread_s=0.02 * 7.25)
    assert profiled.timed([]) == Timed(seconds=0.0, how="profiled", spread_s=None)
    assert modelled.seconds([]) == 0.0
    assert modelled.seconds([0]) == 1.25  # also node number 0
    assert runs(EDGE, how="profiled", retest_error=0.0).timed([0]).spread_s == 0.0


def test_a_profile_is_scaled_to_the_whole_with_the_runs_constant(
    graph: ModelGraph, make_profile: Callable[[ModelGraph], ModelProfile]
) -> None:
    profile = make_profile(graph)
    nodes = tuple(
        msgspec.structs.replace(node, seconds=seconds) for node, seconds in zip(profile.nodes, NODE_S, strict=True)
    )
    whole = msgspec.structs.replace(profile.whole, min_s=1.65, median_s=9.0)
    profile = msgspec.structs.replace(profile, nodes=nodes[::-1], whole=whole, retest_error=0.01)  # by name, not order
    mine = msgspec.structs.replace(EDGE, fingerprint=profile.machine.fingerprint)
    found = party(mine, graph, profile)
    assert (found.how, found.run_s, found.retest_error) == ("profiled", 0.25, 0.01)
    assert found.node_s == pytest.approx(1.4 / 7 * np.array(NODE_S))
    assert found.seconds([0, 1, 2]) == pytest.approx(1.65)
    tiny = party(mine, graph, msgspec.structs.replace(profile, whole=msgspec.structs.replace(whole, min_s=0.1)))
    assert tiny.run_s == 0.1  # a run's constant is within the whole
    assert tiny.seconds([0, 1, 2]) == pytest.approx(0.1)
    predicted = predict_s(EDGE, [op_work(graph, node) for node in graph.nodes])
    for other in (EDGE, msgspec.structs.replace(EDGE, fingerprint="another")):
        modelled = party(other, graph, profile)
        assert (modelled.how, modelled.run_s, modelled.retest_error) == ("modelled", 0.25, None)
        assert modelled.node_s == pytest.approx(predicted)


def test_a_node_as_work(graph: ModelGraph) -> None:
    sigmoid, _, product = graph.nodes
    assert op_work(graph, sigmoid) == OpWork(
        op_class=sigmoid.op_class, macs=sigmoid.macs, read_bytes=16, write_bytes=16, weight_bytes=0, element_bytes=4
    )
    found = op_work(graph, product)
    assert (found.op_class, found.macs, found.weight_bytes) == ("matmul", 32, 128)
    assert (found.read_bytes, found.write_bytes) == (16, 32)  # weights are counted as weights only


@dataclasses.dataclass(frozen=True)
class Named:
    """As much of a coder as pricing reads."""

    name: str
    specs: tuple[TensorSpec, ...]


def test_the_work_of_fitted_codecs(nets: ModuleType) -> None:
    three = nets.from_text(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,6] x) => (float[1,6] y)'
        " { a = Neg(x)  b = Abs(a)  y = Sign(b) }"
    )
    specs = tuple(TensorSpec(name=name, shape=(1, n), dtype="uint8") for name, n in (("s", 6), ("side", 2)))

    def codec(name: str, encoder: bytes | None, decoder: bytes | None, weight_bytes: int) -> FittedCodec:
        fields: dict[str, Any] = {field.name: None for field in dataclasses.fields(FittedCodec)}
        fields |= {"coder": Named(name, specs), "encoder": encoder, "decoder": decoder, "shape": (1, 6)}
        fields |= {field: 0 for field in fields if field.endswith("_macs")}
        return FittedCodec(**fields | {"weight_bytes": weight_bytes})

    work = work_of([codec("rans", three, None, 5), codec("zstd", None, three, 8)], table_bytes=77)
    assert work.symbols == (("rans", 8), ("zstd", 8))
    assert (work.table_bytes, work.weight_bytes, work.side_bytes) == (77, 13, 90)
    for ops in (work.encoder, work.decoder):
        assert [(op.read_bytes, op.write_bytes, op.weight_bytes) for op in ops] == [(24, 24, 0)] * 3


def test_the_other_half_is_everything_else(graph: ModelGraph) -> None:
    for cut in enumerate_cuts(graph).cuts:
        assert sorted((*cut.head, *other_half(graph, cut))) == [0, 1, 2]


PRECISIONS = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}


@pytest.mark.parametrize(("precision", "scale"), PRECISIONS.items())
def test_a_device_stores_numbers_of_its_precision(
    graph: ModelGraph, cut: Cut, nets: ModuleType, precision: str, scale: float
) -> None:
    runtime = msgspec.structs.replace(EDGE.runtime, precision=precision)
    device = msgspec.structs.replace(EDGE, runtime=runtime)
    assert stored_scale(device, graph) == scale
    fp16 = load_graph(
        nets.from_text('<ir_version: 8, opset_import: ["": 17]> g (float16[4] x) => (float16[4] y) { y = Neg(x) }')
    )
    assert stored_scale(device, fp16) == min(1.0, 2 * scale)
    quantized = load_graph(
        nets.from_text(
            '<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[4] y) <float s = {0.5}, uint8 z = {3}>'
            " { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }"
        )
    )
    assert stored_scale(device, quantized) == 1.0
    cost = split(graph, msgspec.structs.replace(cut, head_weight_bytes=1000), edge=runs(device))
    assert cost.head_peak_bytes == round(scale * 1041)
    assert cost.head_file_bytes == round(scale * 1040) + 100  # tables are bytes on every device
    assert cost.head_bytes == 1040
    whole = alone(graph, edge=runs(device))
    assert (whole.head_peak_bytes, whole.head_file_bytes) == (round(scale * 1001), 128 * scale)


def test_the_share_of_a_deadline_takes_the_place_of_the_means(graph: ModelGraph, cut: Cut) -> None:
    channel = Channel(link=msgspec.structs.replace(LINK, loss=0.1), share=0.95, server_load=0.9)
    cost = split(graph, cut, channel=channel)
    sent = send(channel, 500.0, cost.server_s)
    assert sent.deadline_s is not None
    assert (cost.link_s, cost.wait_s, cost.deadline_link_s) == (sent.link_s, sent.wait_s, sent.deadline_s)
    assert cost.wait_s > 0
    computing_s = cost.device_s + cost.server_s
    assert cost.latency_s == pytest.approx(computing_s + sent.link_s + sent.wait_s)
    assert cost.deadline_latency_s == pytest.approx(computing_s + sent.deadline_s)
    assert cost.deadline_latency_s > cost.latency_s


def test_the_server_queues_for_all_that_it_computes(graph: ModelGraph) -> None:
    channel = Channel(link=LINK, server_load=0.5)
    cost = picture(graph, channel=channel)
    assert cost.server_s == pytest.approx(0.3 + 0.4 + 0.95)  # preparing too
    assert cost.wait_s == send(channel, 500.0, cost.server_s).wait_s
    assert cost.wait_s > send(channel, 500.0, cost.tail_s).wait_s
    assert cost.server_usd == pytest.approx(3.0 * cost.server_s + 0.5)


def test_energy_and_money_of_a_message_and_its_answer(graph: ModelGraph, cut: Cut) -> None:
    cost = split(graph, cut)
    up, down = 8 * 500, 8 * ANSWER_BYTES
    radio_j = up / 1e6 + 1e-7 * up + 0.5 * down / 2e6 + 2e-7 * down
    assert cost.radio_j == pytest.approx(radio_j)
    assert cost.compute_j == pytest.approx(3.0 * cost.device_s)
    assert cost.idle_j == pytest.approx(2.0 * cost.latency_s)
    assert cost.energy_j == pytest.approx(radio_j + 3.0 * cost.device_s + 2.0 * cost.latency_s)
    assert cost.link_usd == pytest.approx(1e-9 * (500 + ANSWER_BYTES))
    assert cost.server_usd == pytest.approx(3.0 * cost.server_s + 0.5)
    assert cost.usd == pytest.approx(3.0 * cost.server_s + 0.5 + 1e-9 * (500 + ANSWER_BYTES))
    assert cost.air_s == pytest.approx(up / 1e6)


KNOWN: Mapping[str, float] = {"compute_j": 1.0, "radio_j": 2.0, "idle_j": 4.0, "server_usd": 8.0, "link_usd": 16.0}


@pytest.mark.parametrize("unknown", [None, *KNOWN])
def test_a_sum_with_an_unknown_part_is_unknown(graph: ModelGraph, cut: Cut, unknown: str | None) -> None:
    fields: dict[str, Any] = dict(KNOWN)
    if unknown is not None:
        fields[unknown] = None
    cost = msgspec.structs.replace(split(graph, cut), **fields)
    assert cost.energy_j == (None if unknown in ("compute_j", "radio_j", "idle_j") else 7.0)
    assert cost.usd == (None if unknown in ("server_usd", "link_usd") else 24.0)


def test_a_part_of_nothing_is_known(graph: ModelGraph, cut: Cut) -> None:
    cost = msgspec.structs.replace(split(graph, cut), **dict.fromkeys(KNOWN, 0.0))
    assert (cost.energy_j, cost.usd) == (0.0, 0.0)


def test_profiles_without_figures_give_no_sums(graph: ModelGraph, cut: Cut) -> None:
    no_power = split(graph, cut, edge=runs(msgspec.structs.replace(EDGE, power=None)))
    assert (no_power.compute_j, no_power.idle_j, no_power.energy_j) == (None, None, None)
    assert no_power.radio_j is not None
    no_price = split(graph, cut, server=runs(msgspec.structs.replace(SERVER, price=None)))
    assert (no_price.server_usd, no_price.usd) == (None, None)
    assert no_price.link_usd is not None
    # The server's own power is nobody's battery.
    other = split(graph, cut, server=runs(msgspec.structs.replace(SERVER, power=None), factor=0.1))
    assert other.energy_j == split(graph, cut).energy_j


STAGES = {
    "device": ({"prepare_s": 1.0, "head_s": 2.0, "encode_s": 4.0}, 7.0),
    "link": ({"air_s": 8.0}, 8.0),
    "server": ({"decode_s": 3.0, "tail_s": 6.0}, 9.0),
}


@pytest.mark.parametrize("slowest", STAGES)
def test_frames_come_as_fast_as_the_slowest_stage(slowest: str) -> None:
    names = ("prepare_s", "head_s", "encode_s", "link_s", "decode_s", "tail_s", "air_s")
    parts: dict[str, Any] = dict.fromkeys(names, 0.125)
    seconds, total_s = STAGES[slowest]
    sizes: dict[str, Any] = dict.fromkeys(("payload_bytes", "side_bytes", "head_bytes", "head_peak_bytes"), 0)
    parts |= {"link_s": 50.0, "wait_s": 60.0, **seconds}
    cost = Cost(**parts, **sizes, how="modelled")
    assert cost.frame_rate == pytest.approx(1 / total_s)  # a delay on the way holds up no later frame
    moved = msgspec.structs.replace(cost, prepared_by="server", prepare_s=1.0)
    server_s = 1.0 + moved.decode_s + moved.tail_s
    assert moved.server_s == pytest.approx(server_s)
    assert moved.device_s == pytest.approx(moved.head_s + moved.encode_s)
    assert moved.frame_rate == pytest.approx(1 / max(moved.device_s, moved.air_s, server_s))
    assert moved.latency_s == pytest.approx(cost.latency_s + 1.0 - cost.prepare_s)


def test_what_can_never_arrive_has_no_energy_until_another_link_carries_it(graph: ModelGraph, cut: Cut) -> None:
    overloaded = Channel(link=LINK, server_load=1e6, share=0.9)
    cost = split(graph, cut, channel=overloaded)
    assert cost.infeasible is not None
    assert math.isinf(cost.latency_s)
    assert math.isinf(cost.deadline_latency_s)
    assert (cost.compute_j, cost.idle_j, cost.energy_j, cost.frame_rate) == (None, None, None, 0.0)
    repriced = over(cost, Channel(link=LINK), EDGE, SERVER)
    assert repriced == split(graph, cut)
    assert repriced.energy_j is not None
    assert alone(graph).infeasible is None
