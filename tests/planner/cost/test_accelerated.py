"""Accelerators that run a part of a network: seconds by hand, what is refused, int8, and bounds that always hold."""

from __future__ import annotations

import functools
import math
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from splitpoint.planner.choice.errors import speed_errors
from splitpoint.planner.choice.intervals import latency_interval
from splitpoint.planner.cost.accelerated import assign
from splitpoint.planner.cost.anchored import anchor_device
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.cost.price import CodingWork, Party, cost_of_split, cost_on_device, over, predict_graph_s
from splitpoint.planner.cost.runnable import runnable_cuts, unit_notes
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.profiles.link.link import FixedLink
from splitpoint.profiles.machine.device import Accelerator, Coder, Compute, Device, Fallback, OpWork, Runtime, Serial
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import to_int8

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1,3,16,16] x) => (float[1,8,1,1] y) {
  a = Conv<pads=[1,1,1,1]>(x, w0)
  b = Relu(a)
  s = Sigmoid(b)
  c = Conv<pads=[1,1,1,1]>(s, w1)
  d = Add(c, s)
  y = GlobalAveragePool(d)
}"""
CONV, RELU, SIGMOID, CONV1, ADD, POOL = range(6)
RUNS = ("Conv", "Relu", "Add", "GlobalAveragePool")
LINK = FixedLink(
    name="wire", description="", uplink_bit_s=1e6, downlink_bit_s=1e6, rtt_s=0.0, per_packet_overhead_bytes=0
)


@functools.cache
def network() -> ModelGraph:
    model, random = parser.parse_model(TEXT), np.random.default_rng(0)
    for name, shape in (("w0", (8, 3, 3, 3)), ("w1", (8, 8, 3, 3))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    onnx.checker.check_model(model)
    return load_graph(model.SerializeToString(), name="net", source="net.onnx")


@functools.cache
def quantized() -> ModelGraph:
    x = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
    lowered = to_int8(whole_bytes(network()), iter([{"x": x}]), keep=[], name="net")
    return load_graph(whole_bytes(load_graph(lowered, name="q", source="q")), name="q", source="q")


def machine(name: str, *, node_s: float, run_s: float, rate: float = 1e15, **changes: Any) -> Device:
    base = Device(
        name=name,
        description="",
        runtime=Runtime(name="any", provider="any", threads=1, precision="int8"),
        compute=Compute(
            dense_macs_s=rate,
            pointwise_macs_s=rate,
            depthwise_macs_s=rate,
            matmul_macs_s=rate,
            bytes_s=rate,
            node_overhead_s=node_s,
            run_overhead_s=run_s,
        ),
        serial=Serial(coders={"none": Coder(encode_s_per_symbol=0.0, decode_s_per_symbol=0.0)}),
        prediction_error=1.1,
    )
    return msgspec.structs.replace(base, **changes)


CPU = machine("cpu", node_s=5e-3, run_s=20e-3)


def npu(*, crossing_s: float = 1e-3, cpu: Device | None = CPU, **what: Any) -> Device:
    fallback = None
    if cpu is not None:
        fallback = Fallback(cpu=cpu.name, crossing_s=crossing_s, crossing_bytes_s=1e6, device=cpu)
    return machine("npu", node_s=1e-3, run_s=10e-3, accelerator=Accelerator(fallback=fallback, **what))


def side(device: Device, graph: ModelGraph) -> Party:
    units, node_s = predict_graph_s(device, graph, {}, host=device)
    return Party(device=device, node_s=node_s, run_s=device.compute.run_overhead_s, how="modelled", units=units)


WORK = CodingWork(symbols=(), encoder=(), decoder=(), table_bytes=0, weight_bytes=0)


def split_cost(edge: Party, graph: ModelGraph, place: int, work: CodingWork = WORK) -> Any:
    return cost_of_split(
        graph=graph,
        cut=enumerate_cuts(graph).cuts[place],
        work=work,
        payload_bytes=100,
        peak_bytes=0,
        prepare_symbols=0,
        edge=edge,
        server=side(CPU, graph),
        host=CPU,
        channel=Channel(link=LINK),
    )


def test_seconds_of_mixed_units_are_those_by_hand() -> None:
    found = side(npu(runs=RUNS), network())
    own, cpu, crossing = 1e-3, 5e-3, 1e-3 + 8 * 16 * 16 / 1e6  # one byte a value, over 1 MB/s
    assert found.seconds([CONV, RELU]) == pytest.approx(10e-3 + 2 * own)
    assert found.seconds([CONV, RELU, SIGMOID]) == pytest.approx(10e-3 + 20e-3 + 2 * own + cpu + crossing)
    # Sigmoid's output is read by two operators of the accelerator, and crosses once.
    whole = 10e-3 + 20e-3 + 5 * own + cpu + 2 * crossing
    assert found.seconds(range(6)) == pytest.approx(whole)
    assert found.seconds([SIGMOID]) == pytest.approx(20e-3 + cpu)  # alone: no crossing, and no run of the accelerator
    assert found.seconds([]) == 0.0


def test_what_lacks_and_runs_say_of_the_same_operators_is_the_same() -> None:
    lacking = side(npu(lacks=("Sigmoid",)), network())
    assert lacking.seconds(range(6)) == side(npu(runs=RUNS), network()).seconds(range(6))
    with pytest.raises(ValueError, match="got both"):
        Accelerator(runs=("Conv",), lacks=("Relu",))


def test_first_part_only_leaves_the_rest_to_the_cpu() -> None:
    found = side(npu(runs=RUNS, first_part_only=True), network())
    crossing = 1e-3 + 8 * 16 * 16 / 1e6
    assert found.seconds(range(6)) == pytest.approx(10e-3 + 20e-3 + 2 * 1e-3 + 4 * 5e-3 + crossing)
    assert found.units is not None
    assert found.units.note() == (
        "npu: 4 operators of the network fall back to its CPU (cpu): layer node_2: Sigmoid, layer node_3: Conv behind"
        " node_2, layer node_4: Add behind node_2 and 1 more; between the two cross 1 tensors"
    )


def test_without_a_cpu_such_heads_are_refused() -> None:
    graph = network()
    edge, server = side(npu(runs=RUNS, cpu=None), graph), side(CPU, graph)
    assert edge.refusal([CONV, RELU]) is None
    assert edge.refusal([CONV, RELU, SIGMOID]) == "layer node_2: Sigmoid not run by npu"
    cuts = enumerate_cuts(graph)
    kept = runnable_cuts(graph, cuts, edge, server)
    assert [cut.after for cut in kept.cuts] == ["input", "node", "node_1"]
    assert [place.reason for place in kept.rejected[len(cuts.rejected) :]] == [edge.refusal([SIGMOID])] * 2
    assert unit_notes(graph, kept, edge, server) == (
        "layer node_2: Sigmoid not run by npu: 2 cuts and the network as a whole are left out",
    )
    on_device = cost_on_device(graph=graph, peak_bytes=0, prepare_symbols=0, edge=edge, host=CPU)
    assert on_device.infeasible == "layer node_2: Sigmoid not run by npu"
    assert math.isinf(on_device.latency_s)
    assert split_cost(edge, graph, 2).infeasible is None
    refused = split_cost(edge, graph, 3)
    assert refused.infeasible == on_device.infeasible
    assert math.isinf(over(refused, Channel(link=LINK), edge.device, CPU).latency_s)  # over a better link, too


def test_an_int8_accelerator_takes_the_int8_network_only() -> None:
    device = npu(takes=("int8",), cpu=None)
    edge = side(device, network())
    assert edge.refusal([CONV]) == "layer node: Conv in float not run by npu"
    cuts = runnable_cuts(network(), enumerate_cuts(network()), edge, edge)
    assert "; precisions: [fp32, int8] adds an int8 network" in unit_notes(network(), cuts, edge, edge)[0]
    graph = quantized()
    found = side(device, graph)
    nodes = range(len(graph.nodes))
    assert found.refusal(nodes) is None
    # Six operators, of which ReLU is part of the convolution; the QDQ around them take no time.
    assert found.seconds(nodes) == pytest.approx(10e-3 + 5 * 1e-3)


def test_qdq_run_where_the_operator_does_that_they_are_for() -> None:
    graph = quantized()
    units = assign(npu(runs=RUNS, takes=("int8",)), graph)
    assert units is not None
    names = {graph.nodes[index].name for index in units.on_cpu}
    assert names == {"node_2", "b_DequantizeLinear", "s_QuantizeLinear"}
    crossing_s = 1e-3 + 8 * 16 * 16 / 1e6  # int8 tensors of one byte
    # To the CPU, and back: its one tensor of 8 bits.
    assert [crossing.seconds for crossing in units.crossings] == pytest.approx([crossing_s] * 2)


def test_weights_of_one_byte_count_one_byte() -> None:
    # 616 bytes of int8 weights, biases and scales behind float activations, beyond a fast memory of 100 bytes.
    memory = msgspec.structs.replace(CPU.memory, fast_weight_bytes=100, weight_stream_bytes_s=1e3)
    slow = msgspec.structs.replace(CPU, memory=memory)
    graph = quantized()
    streamed = side(slow, graph).seconds(range(len(graph.nodes))) - side(CPU, graph).seconds(range(len(graph.nodes)))
    stored = sum(node.weight_bytes for node in graph.nodes)
    assert streamed == pytest.approx((stored - 100) / 1e3, rel=0.05)  # but for the scales, which are float32


def test_the_graph_of_a_codec_runs_on_the_cpu() -> None:
    op = OpWork(op_class="other", macs=None, read_bytes=4, write_bytes=4, weight_bytes=0)
    work = CodingWork(symbols=(), encoder=(op,), decoder=(), table_bytes=0, weight_bytes=0)
    graph = network()
    assert split_cost(side(npu(runs=RUNS), graph), graph, 1, work).encode_s == pytest.approx(5e-3)
    assert split_cost(side(npu(runs=RUNS, cpu=None), graph), graph, 1, work).encode_s == pytest.approx(1e-3)


def test_a_timing_of_the_network_scales_cpu_and_crossings() -> None:
    device, graph = npu(runs=RUNS), network()
    predicted_s = side(device, graph).seconds(range(6))
    anchored = anchor_device(device, predicted_s, [2 * predicted_s])
    assert side(anchored, graph).seconds(range(6)) == pytest.approx(2 * predicted_s)


def test_the_interval_is_that_of_the_less_certain_unit() -> None:
    graph, unsure = network(), msgspec.structs.replace(CPU, prediction_error=2.0)
    server = side(CPU, graph)
    alone = speed_errors(side(npu(cpu=unsure), graph), server, CPU)  # runs everything itself
    mixed = speed_errors(side(npu(cpu=unsure, runs=RUNS), graph), server, CPU)
    assert alone.device < mixed.device == speed_errors(side(unsure, graph), server, CPU).device
    whole = cost_on_device(graph=graph, peak_bytes=0, prepare_symbols=0, edge=side(npu(runs=RUNS), graph), host=CPU)
    interval = latency_interval(whole, mixed)
    assert interval is not None
    assert interval.high_s > interval.low_s


@settings(max_examples=60)
@given(
    lacks=st.sets(st.sampled_from(["Conv", "Relu", "Sigmoid", "Add", "GlobalAveragePool"])),
    more=st.sampled_from(["Conv", "Relu", "Sigmoid", "Add", "GlobalAveragePool"]),
    crossing_s=st.floats(0, 1e-2),
    first=st.booleans(),
    done=st.integers(1, 6),
)
def test_lacking_operators_never_make_a_head_faster(
    lacks: set[str], more: str, crossing_s: float, first: bool, done: int
) -> None:
    """Beside a CPU that is faster at no operator: than on an accelerator that lacks none, and that crosses for free."""
    graph, head = network(), range(done)

    def seconds(names: set[str], crossing_s: float) -> float:
        device = npu(lacks=tuple(sorted(names)), crossing_s=crossing_s, first_part_only=first)
        return side(device, graph).seconds(head)

    complete = side(npu(), graph).seconds(head)
    found = seconds(lacks, crossing_s)
    # Of two sets of operators the smaller one may cross more often, so that only these hold always.
    assert found >= complete - 1e-12
    assert found >= seconds(lacks, 0.0) - 1e-12
    fallen, wider = _fallen(lacks, first), _fallen(lacks | {more}, first)
    assert fallen <= wider


def _fallen(lacks: set[str], first: bool) -> frozenset[int]:
    units = assign(npu(lacks=tuple(sorted(lacks)), first_part_only=first), network())
    assert units is not None
    return units.on_cpu
