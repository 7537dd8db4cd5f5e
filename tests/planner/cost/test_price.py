"""Algebra of costs: parts add up, faster links never hurt, energy and money as sums, every shipped link priced."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.codecs.contract.protocol import Context, fit_one
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.cost.memory import stored_scale
from splitpoint.planner.cost.message import ANSWER_BYTES, Channel
from splitpoint.planner.cost.price import (
    CodingWork,
    Party,
    cost_of_picture,
    cost_of_split,
    cost_on_device,
    over,
    party,
    work_of,
)
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.search.decide import CONSTRAINTS, violations
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import list_profiles, load_link
from splitpoint.profiles.link.link import FixedLink, Radio
from splitpoint.profiles.machine.device import Coder, Compute, Device, Power, Price, Runtime, Serial
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.model_profile import ModelProfile, NodeTiming, Samples
from splitpoint.profiles.network.graph import describe_model, load_graph
from splitpoint.tests.switches import CHANNEL, NoSteps

CODERS = {name: Coder(encode_s_per_symbol=2e-8, decode_s_per_symbol=1e-8) for name in ("rans", "jpeg", "preprocess")}


def device(name: str, macs_s: float, **changes: object) -> Device:
    base = Device(
        name=name,
        description="",
        runtime=Runtime(name="onnxruntime", provider="CPUExecutionProvider", threads=1, precision="fp32"),
        compute=Compute(
            dense_macs_s=macs_s,
            pointwise_macs_s=macs_s,
            depthwise_macs_s=macs_s,
            matmul_macs_s=macs_s,
            bytes_s=macs_s,
            node_overhead_s=1e-6,
            run_overhead_s=1e-5,
        ),
        power=Power(idle_w=2.0, active_w=5.0, measured_at="test"),
        price=Price(usd_s=1e-4, usd_request=1e-6),
        serial=Serial(coders=CODERS),
    )
    return msgspec.structs.replace(base, **changes)


SLOW, FAST = device("slow", 1e9), device("fast", 1e12)
LINK = FixedLink(
    name="link",
    description="",
    uplink_bit_s=1e6,
    downlink_bit_s=1e6,
    rtt_s=0.01,
    per_packet_overhead_bytes=0,
    radio=Radio(tx_base_w=1.0, tx_j_per_bit=1e-7),
    usd_byte=1e-9,
)


@pytest.fixture(scope="module")
def model(nets):
    return load_graph(nets.chain(channels=8, side=16) if hasattr(nets, "chain") else _chain(), name="chain")


def _chain() -> bytes:
    import onnx.helper as h
    from onnx import numpy_helper

    nodes, weights, x, channels = [], [], "x", 3
    rng = np.random.default_rng(0)
    for i, out in enumerate((8, 8, 4)):
        weights.append(numpy_helper.from_array(rng.normal(size=(out, channels, 3, 3)).astype(np.float32), f"w{i}"))
        nodes.append(h.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4, strides=[2, 2]))
        nodes.append(h.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        x, channels = f"r{i}", out
    ends = [h.make_tensor_value_info("x", 1, (1, 3, 32, 32)), h.make_tensor_value_info(x, 1, (1, 4, 4, 4))]
    graph = h.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return bytes(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9).SerializeToString())


def profile_of(graph) -> ModelProfile:
    whole = Samples(n=20, min_s=1e-2, median_s=1e-2, mad_s=1e-4)
    return ModelProfile(
        format=1,
        model=graph.name,
        model_sha256=graph.sha256,
        machine=this_machine(threads=1),
        measured="2026-01-01",
        whole=whole,
        nodes=tuple(NodeTiming(name=node.name, seconds=1e-2 / len(graph.nodes)) for node in graph.nodes),
        host=FAST,
        retest_error=0.0,
    )


def split(graph, cut: Cut, channel: Channel, *, payload: float = 500.0, edge: Device = SLOW) -> Cost:
    profile = profile_of(graph)
    work = CodingWork(symbols=(("rans", cut.elements),), encoder=(), decoder=(), table_bytes=100, weight_bytes=40)
    return cost_of_split(
        graph=graph,
        cut=cut,
        work=work,
        payload_bytes=payload,
        peak_bytes=1000,
        prepare_symbols=1024,
        edge=party(edge, graph, profile),
        server=party(FAST, graph, profile),
        host=FAST,
        channel=channel,
    )


def picture(graph, channel: Channel, payload: float = 2000.0) -> Cost:
    profile = profile_of(graph)
    return cost_of_picture(
        graph=graph,
        coder="jpeg",
        pixels=1024,
        payload_bytes=payload,
        prepare_symbols=1024,
        edge=party(SLOW, graph, profile),
        server=party(FAST, graph, profile),
        host=FAST,
        channel=channel,
    )


def whole(graph, edge: Device = SLOW) -> Cost:
    return cost_on_device(
        graph=graph, peak_bytes=1000, prepare_symbols=1024, edge=party(edge, graph, profile_of(graph)), host=FAST
    )


def test_the_parts_add_up(model) -> None:
    for cut in enumerate_cuts(model).cuts:
        cost = split(model, cut, Channel(link=LINK))
        parts = [cost.prepare_s, cost.head_s, cost.encode_s, cost.link_s, cost.wait_s, cost.decode_s, cost.tail_s]
        assert cost.latency_s == pytest.approx(sum(parts))
        assert cost.device_s + cost.server_s + cost.link_s + cost.wait_s == pytest.approx(cost.latency_s)
        assert cost.deadline_latency_s == cost.latency_s
        up_s, down_s = 8 * 500 / 1e6, 8 * ANSWER_BYTES / 1e6
        assert cost.link_s == pytest.approx(0.01 + up_s + down_s)
        assert cost.air_s == pytest.approx(up_s)
        assert cost.compute_j == pytest.approx(3.0 * cost.device_s)
        assert cost.idle_j == pytest.approx(2.0 * cost.latency_s)
        assert cost.radio_j == pytest.approx(1.0 * up_s + 1e-7 * 8 * 500)
        assert cost.energy_j == pytest.approx((cost.compute_j or 0) + (cost.idle_j or 0) + (cost.radio_j or 0))
        assert cost.server_usd == pytest.approx(1e-4 * cost.server_s + 1e-6)
        assert cost.usd == pytest.approx((cost.server_usd or 0) + 1e-9 * (500 + ANSWER_BYTES))
        assert cost.frame_rate == pytest.approx(1 / max(cost.device_s, cost.air_s, cost.server_s))
        assert cost.side_bytes == 140
        assert cost.head_file_bytes == cut.head_weight_bytes + 140


def test_a_picture_is_prepared_by_the_server_and_costs_it_money(model) -> None:
    cost = picture(model, Channel(link=LINK))
    assert cost.prepared_by == "server"
    assert cost.device_s == cost.encode_s
    assert cost.server_s == pytest.approx(cost.prepare_s + cost.decode_s + cost.tail_s)
    assert cost.head_peak_bytes == cost.head_file_bytes == 0


def test_nothing_sent_costs_no_radio_and_no_money(model) -> None:
    cost = whole(model)
    assert (cost.radio_j, cost.usd, cost.link_s, cost.wait_s) == (0.0, 0.0, 0.0, 0.0)
    assert cost.energy_j == pytest.approx(5.0 * cost.latency_s)
    assert cost.frame_rate == pytest.approx(1 / cost.latency_s)


def test_what_is_not_known_is_none_never_zero(model) -> None:
    cut = enumerate_cuts(model).cuts[1]
    plain = msgspec.structs.replace(LINK, radio=None, usd_byte=None)
    cost = split(model, cut, Channel(link=plain))
    assert cost.energy_j is None
    assert cost.usd is None
    assert cost.compute_j is not None
    unknown = msgspec.structs.replace(SLOW, power=None)
    assert whole(model, unknown).energy_j is None


RATES = st.floats(min_value=1e4, max_value=1e9)


@settings(max_examples=30)
@given(rate=RATES, factor=st.floats(min_value=1.0, max_value=1e3))
def test_a_faster_link_never_raises_the_least_latency_or_its_energy(model, rate: float, factor: float) -> None:
    def best(uplink_bit_s: float) -> tuple[float, float]:
        channel = Channel(link=msgspec.structs.replace(LINK, uplink_bit_s=uplink_bit_s))
        costs = [split(model, cut, channel) for cut in enumerate_cuts(model).cuts]
        costs += [picture(model, channel), whole(model)]
        return min(c.latency_s for c in costs), min(c.energy_j or math.inf for c in costs)

    slow, fast = best(rate), best(rate * factor)
    assert fast[0] <= slow[0] * (1 + 1e-12)
    assert fast[1] <= slow[1] * (1 + 1e-12)


@given(payloads=st.tuples(st.floats(min_value=1, max_value=1e6), st.floats(min_value=1, max_value=1e6)))
def test_more_bytes_never_cost_less_energy_or_money(model, payloads: tuple[float, float]) -> None:
    less, more = (split(model, enumerate_cuts(model).cuts[0], Channel(link=LINK), payload=p) for p in sorted(payloads))
    assert (less.energy_j or 0) <= (more.energy_j or 0)
    assert (less.usd or 0) <= (more.usd or 0)
    assert less.frame_rate >= more.frame_rate


@pytest.mark.parametrize("shipped", [s for s in list_profiles() if s.kind == "link"], ids=lambda s: s.name)
def test_every_shipped_link_is_priced(model, shipped) -> None:
    cost = split(model, enumerate_cuts(model).cuts[2], Channel(link=shipped.profile, share=0.9), payload=100)
    assert cost.infeasible is None
    assert 0 < cost.link_s < 60
    assert cost.deadline_link_s is not None
    assert 0 < cost.deadline_link_s < 120
    assert 0 < cost.air_s < 60


def test_an_infeasible_message_says_why_and_is_no_number_of_hours(model, make_needs) -> None:
    cost = split(model, enumerate_cuts(model).cuts[1], Channel(link=load_link("lorawan-eu433"), share=0.9), payload=9e3)
    assert math.isinf(cost.latency_s)
    assert math.isinf(cost.deadline_latency_s)
    assert cost.energy_j is None
    missed_limits = violations(_point(cost), make_needs(latency=1.0))
    assert [violation.name for violation in missed_limits] == ["infeasible"]
    assert "222 B that lorawan-eu433 carries" in missed_limits[0].text


def _point(cost: Cost) -> Evaluated:
    return Evaluated(
        candidate=Candidate(variant="given", placement="split", cut="c0", codec="fast", rate=0),
        cost=cost,
        accuracy=Accuracy(
            metric="agreement",
            value=1.0,
            drop=0.0,
            low=0.9,
            high=1.0,
            drop_low=0.0,
            drop_high=0.1,
            n=10,
            groups=10,
            relative_error=0.0,
            payload_bytes=cost.payload_bytes,
            subset="search",
        ),
        label="",
    )


def test_each_limit_binds_and_names_itself(model, make_needs) -> None:
    cost = split(model, enumerate_cuts(model).cuts[2], Channel(link=LINK))
    limits: dict[str, tuple[float, float]] = {  # a bound that is missed and one that is met
        "latency": (cost.latency_s / 2, cost.latency_s),
        "energy": ((cost.energy_j or 0) / 2, cost.energy_j or 0),
        "cost": ((cost.usd or 0) / 2, cost.usd or 0),
        "frame rate": (cost.frame_rate * 2, cost.frame_rate),
        "payload": (100, cost.payload_bytes),
        "device memory": (500, cost.head_peak_bytes),
        "device flash": (100, cost.head_file_bytes),
    }
    for name, (missed, met) in limits.items():
        (violation,) = violations(_point(cost), make_needs(device={name: missed}))
        assert violation.name == name
        assert violation.name in CONSTRAINTS
        assert violation.excess > 0
        assert violations(_point(cost), make_needs(device={name: met})) == ()
    (memory,) = violations(_point(cost), make_needs(device={"device memory": 500}))
    assert memory.text == "device memory by 540 B (mcu has 500 B)"


def test_a_limit_on_what_is_not_known_is_missed(model, make_needs) -> None:
    cost = split(model, enumerate_cuts(model).cuts[1], Channel(link=msgspec.structs.replace(LINK, radio=None)))
    (violation,) = violations(_point(cost), make_needs(energy=100.0))
    assert violation.text == "energy, which is not known"


def test_an_int8_device_holds_a_quarter(model) -> None:
    int8 = msgspec.structs.replace(SLOW, runtime=msgspec.structs.replace(SLOW.runtime, precision="int8"))
    cut = enumerate_cuts(model).cuts[2]
    assert stored_scale(int8, model) == 0.25
    fp32, small = (split(model, cut, Channel(link=LINK), edge=edge) for edge in (SLOW, int8))
    assert small.head_peak_bytes == fp32.head_peak_bytes / 4
    assert small.head_file_bytes - 100 == (fp32.head_file_bytes - 100) / 4


def test_a_profile_is_used_on_its_own_machine_and_refused_for_other_settings(model) -> None:
    profile = profile_of(model)
    own = msgspec.structs.replace(SLOW, fingerprint=profile.machine.fingerprint, machine=profile.machine)
    measured: Party = party(own, model, profile)
    assert measured.how == "profiled"
    assert measured.seconds([n.index for n in model.nodes]) == pytest.approx(profile.whole.min_s)
    elsewhere = msgspec.structs.replace(profile.machine, cpu="b", threads=4)
    other = msgspec.structs.replace(SLOW, fingerprint=elsewhere.fingerprint, machine=elsewhere)
    assert party(other, model, profile).how == "modelled"
    for field, value, text in (
        ("threads", 2, "threads 1, not 2"),
        ("provider", "CUDAExecutionProvider", "provider CPUExecutionProvider, not CUDA"),
        ("precision", "int8", "precision fp32, not int8"),
    ):
        changed = msgspec.structs.replace(profile.machine, **{field: value})
        refused = msgspec.structs.replace(SLOW, fingerprint=changed.fingerprint, machine=changed)
        with pytest.raises(ProfileError, match=text):
            party(refused, model, profile)


def test_over_is_what_pricing_does(model) -> None:
    cut = enumerate_cuts(model).cuts[1]
    near, far = Channel(link=LINK), Channel(link=msgspec.structs.replace(LINK, uplink_bit_s=3e5))
    assert over(split(model, cut, near), far, SLOW, FAST) == split(model, cut, far)


def test_a_codecs_graph_is_counted_node_by_node() -> None:
    """kltq: C^2 multiply-adds a position for the channels, K^2 C for the positions of the one block of an 8x8 map."""
    x = np.random.default_rng(0).normal(size=(20, 6, 8, 8)).astype(np.float32)
    first, second = (fit_one(REGISTRY["kltq-rans"], x, rate, Context()) for rate in (2, 8))
    work = work_of([first], table_bytes=0)
    macs = 6 * 6 * 64 + 6 * 64 * 64
    assert sum(op.macs or 0 for op in work.encoder) == sum(op.macs or 0 for op in work.decoder) == macs
    assert {op.op_class for op in work.encoder if op.macs} == {"matmul"}
    assert work_of([second], table_bytes=0).encoder == work.encoder


def test_a_switch_codes_the_symbols_of_its_rate() -> None:
    x = np.random.default_rng(0).normal(size=(20, 8, 4, 5)).astype(np.float32)
    fitted = [fit_one(REGISTRY["dynamic-switch"], x, rate, Context(training=NoSteps())) for rate in range(3)]
    assert work_of(fitted, table_bytes=0).symbols == (("switch", 20), ("switch", 40), ("switch", 80))


def test_a_decoders_weights_are_not_the_devices() -> None:
    """The decoder of joint coding is larger than its encoder. The server stores it; what is stored once has both."""
    x = np.random.default_rng(0).normal(size=(20, 8, 4, 5)).astype(np.float32)
    fitted = fit_one(REGISTRY["jankowski-jscc"], x, 3, Context(training=NoSteps(), channel=CHANNEL))
    work = work_of([fitted], table_bytes=7)
    encoder = 4 * (4 * 8 * 9 + 4 + 4 * 4 + 4 + 4)  # float32: kernel, bias, gamma, beta, slopes
    assert encoder <= work.head_weight_bytes <= encoder + 64  # shapes of Reshape
    assert work.weight_bytes > 3 * work.head_weight_bytes
    assert work.side_bytes == work.weight_bytes + 7
    old = dataclasses.replace(work, encoder_weight_bytes=None)
    assert old.head_weight_bytes == work.weight_bytes


@pytest.mark.parametrize("name", [name for name, codec in REGISTRY.items() if "layer" not in codec.needs])
def test_the_graphs_of_every_codec_are_counted(name: str) -> None:
    codec = REGISTRY[name]
    if codec.refuses((1, 4, 6, 6), "float32") is not None:
        return  # int8 tensors pass through as they are: no graphs
    x = np.random.default_rng(0).normal(size=(400, 4, 6, 6)).astype(np.float32)
    fitted = fit_one(codec, x, len(codec.rates) // 2, Context(training=NoSteps(), channel=CHANNEL))
    for model in (fitted.encoder, fitted.decoder):
        if model is not None:
            graph = describe_model(model)
            assert graph.uncounted == {}, name
            assert {value for node in graph.nodes for value in node.outputs} <= graph.tensors.keys()
    work = work_of([fitted], table_bytes=0)
    assert len(work.encoder) >= (fitted.encoder is not None)
    assert all(op.read_bytes > 0 or op.write_bytes > 0 for op in (*work.encoder, *work.decoder))
