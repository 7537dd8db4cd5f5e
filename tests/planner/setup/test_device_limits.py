"""Requirements with their defaults, and what the chosen device, server and link add to or refuse of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx.parser
import pytest

from splitpoint.planner.cost.memory import stored_scale
from splitpoint.planner.limits.need import Need, requirements
from splitpoint.planner.setup.config import DataConfig, PlanConfig
from splitpoint.planner.setup.device_limits import bind
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml
from splitpoint.profiles.library.catalog import load_server
from splitpoint.profiles.link.types import FixedLink, Radio
from splitpoint.profiles.machine.device import Device, Memory, Power, Price
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

INPUT_BYTES = 4 * 3 * 8 * 8
LINK = FixedLink(name="flat", description="nothing but a rate", downlink_bit_s=1e6, rtt_s=0.0, uplink_bit_s=1e6)
POWER = Power(idle_w=1.0, active_w=2.0, measured_at="wall")
RADIO = Radio(tx_base_w=1.0)
Written = Callable[[Device], str]


@pytest.fixture(scope="module")
def relu() -> ModelGraph:
    return graph("y = Relu(x)")


def graph(body: str, of: str = "float") -> ModelGraph:
    text = f'<ir_version: 9, opset_import: ["" : 17]> g ({of}[1,3,8,8] x) => ({of}[1,3,8,8] y) {{ {body} }}'
    return load_graph(bytes(onnx.parser.parse_model(text).SerializeToString()), name="small")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a profile and gives its path."""

    def write(device: Device) -> str:
        path = tmp_path / f"{device.name}.yaml"
        path.write_text(dump_yaml(device))
        return str(path)

    return write


def config(need: Need | None = None, **fields: Any) -> PlanConfig:
    return PlanConfig(model="m.onnx", data=DataConfig(source="d"), need=need or Need(), **fields)


def bound(needed: PlanConfig, graph: ModelGraph, link: FixedLink = LINK) -> Any:
    return bind(requirements(needed.need, labelled=True), needed, graph, link)


@pytest.mark.parametrize(
    ("need", "labelled", "max_drop", "min_agreement"),
    [
        (Need(), True, 0.01, None),
        (Need(), False, None, 0.90),
        (Need(max_drop=0.05), True, 0.05, None),
        (Need(max_drop=0.0), True, 0.0, None),
        (Need(min_agreement=0.8), True, None, 0.8),
        (Need(min_agreement=0.0), True, None, 0.0),
        (Need(min_agreement=0.8), False, None, 0.8),
        (Need(max_drop=0.05, min_agreement=0.8), True, 0.05, 0.8),
    ],
)
def test_there_is_always_a_quality_floor_and_an_asked_one_replaces_the_default(
    need: Need, labelled: bool, max_drop: float | None, min_agreement: float | None
) -> None:
    needs = requirements(need, labelled=labelled)
    assert (needs.value("drop"), needs.value("quality")) == (max_drop, min_agreement)


def test_every_need_becomes_its_own_limit() -> None:
    need = Need(
        deadline=0.05,
        deadline_share=0.99,
        min_frame_rate=10.0,
        max_payload=2000,
        max_device_memory=3000,
        max_energy=0.4,
        max_cost=1e-5,
        confident=True,
    )
    needs = requirements(need, labelled=True)
    assert {bound.limit: bound.value for bound in needs.bounds} == {
        "latency": 0.05,
        "frame rate": 10.0,
        "drop": 0.01,
        "payload": 2000,
        "device memory": 3000,
        "energy": 0.4,
        "cost": 1e-5,
    }
    assert {bound.device for bound in needs.bounds} == {""}
    assert (needs.deadline_share, needs.confident) == (0.99, True)
    nothing = requirements(Need(), labelled=True)
    assert not nothing.confident
    assert [bound.limit for bound in nothing.bounds] == ["drop"]


def test_a_drop_needs_labels() -> None:
    with pytest.raises(ProfileError, match="max_drop needs labels, and the data has none") as caught:
        requirements(Need(max_drop=0.0), labelled=False)
    assert caught.value.at == "$.need.max_drop"
    assert "min_agreement" in str(caught.value.fix)


def test_a_share_of_cases_needs_a_deadline_and_zero_is_one() -> None:
    with pytest.raises(ProfileError, match="needs a deadline"):
        requirements(Need(deadline_share=0.9), labelled=True)
    assert requirements(Need(deadline_share=0.9, deadline=0.0), labelled=True).value("latency") == 0.0
    assert requirements(Need(deadline=0.1), labelled=True).deadline_share is None


@pytest.mark.parametrize(
    ("memory", "limit", "flash"),
    [
        (Memory(), None, None),
        (Memory(ram_bytes=5000), 5000, None),
        (Memory(ram_bytes=5000, model_bytes=4000, flash_bytes=3000), 4000, 3000),
        (Memory(flash_bytes=10), None, 10),
    ],
)
def test_the_memory_for_models_binds_before_all_memory(
    relu: ModelGraph, host: Device, written: Written, memory: Memory, limit: int | None, flash: int | None
) -> None:
    device = msgspec.structs.replace(host, name="mcu", memory=memory)
    needs = bound(config(device=written(device)), relu)
    assert (needs.value("device memory"), needs.value("device flash")) == (limit, flash)
    assert {b.device for b in needs.bounds if b.limit.startswith("device")} <= {"mcu"}


@pytest.mark.parametrize(("asked", "bound_by"), [(4000, ""), (6000, "mcu")])
def test_the_tighter_of_what_was_asked_and_what_the_device_has_binds(
    relu: ModelGraph, host: Device, written: Written, asked: int, bound_by: str
) -> None:
    device = msgspec.structs.replace(host, name="mcu", memory=Memory(ram_bytes=5000))
    needs = bound(config(Need(max_device_memory=asked), device=written(device)), relu)
    memory = next(b for b in needs.bounds if b.limit == "device memory")
    assert (memory.value, memory.device) == (min(asked, 5000), bound_by)


def test_an_unknown_objective_names_the_nearest_and_all(relu: ModelGraph) -> None:
    with pytest.raises(ProfileError, match=r"unknown objective 'latncy'\. Did you mean 'latency'") as caught:
        bound(config(objectives=("latncy",)), relu)
    assert caught.value.at == "$.objectives[0]"
    assert "payload" in str(caught.value.fix)
    with pytest.raises(ProfileError, match=r"unknown objective 'zzz'\n"):
        bound(config(objectives=("zzz",)), relu)


@pytest.mark.parametrize(("share", "allowed"), [(0.0, False), (1e-6, True), (0.999, True), (1.0, False)])
def test_a_share_lies_strictly_between_none_and_all(share: float, allowed: bool) -> None:
    if allowed:
        assert msgspec.convert({"deadline_share": share}, Need).deadline_share == share
    else:
        with pytest.raises(msgspec.ValidationError, match="deadline_share"):
            msgspec.convert({"deadline_share": share}, Need)


def test_a_field_that_is_no_limit_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="dead_line"):
        msgspec.convert({"dead_line": 0.1}, Need)


def test_the_host_limits_nothing(relu: ModelGraph) -> None:
    needed = config(Need(deadline=0.1))
    assert bound(needed, relu) == requirements(needed.need, labelled=True)


@pytest.mark.parametrize(("precision", "least"), [("fp32", INPUT_BYTES), ("fp16", INPUT_BYTES // 2), ("int8", 192)])
def test_a_device_must_hold_the_input_as_it_stores_it(
    relu: ModelGraph, host: Device, written: Written, precision: Any, least: int
) -> None:
    runtime = msgspec.structs.replace(host.runtime, precision=precision)

    def with_memory(memory: Memory) -> str:
        return written(msgspec.structs.replace(host, name="mcu", runtime=runtime, memory=memory))

    assert bound(config(device=with_memory(Memory(ram_bytes=least))), relu).value("device memory") == least
    for memory, field in ((Memory(ram_bytes=least - 1), "ram_bytes"), (Memory(model_bytes=least - 1), "model_bytes")):
        path = with_memory(memory)
        with pytest.raises(
            ProfileError, match=f"mcu has {least - 1} B for a head, .* input alone takes {least} B"
        ) as caught:
            bound(config(device=path), relu)
        assert caught.value.at == f"{path}: $.memory.{field}"


def test_quantized_graphs_and_narrow_types_are_stored_as_they_are(relu: ModelGraph, host: Device) -> None:
    def stores(precision: Any) -> Device:
        return msgspec.structs.replace(host, runtime=msgspec.structs.replace(host.runtime, precision=precision))

    quantized = graph("s = Constant <value = float {0.1}> () q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)")
    half = graph("y = Relu(x)", of="float16")
    assert [stored_scale(stores(p), relu) for p in ("fp32", "fp16", "int8")] == [1.0, 0.5, 0.25]
    assert [stored_scale(stores(p), half) for p in ("fp32", "fp16", "int8")] == [1.0, 1.0, 0.5]
    assert [stored_scale(stores(p), quantized) for p in ("fp32", "fp16", "int8")] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("asks", [{"need": Need(max_energy=1.0)}, {"objectives": ("latency", "energy")}])
def test_energy_needs_the_device_s_power_and_the_link_s_radio(
    relu: ModelGraph, host: Device, written: Written, asks: dict[str, Any]
) -> None:
    at = "$.need.max_energy" if "need" in asks else "$.objectives[1]"
    path = written(msgspec.structs.replace(host, name="powered", power=POWER))
    radio = msgspec.structs.replace(LINK, radio=RADIO)
    assert bound(config(device=path, **asks), relu, radio).value("drop") == 0.01
    bare = written(msgspec.structs.replace(host, name="bare"))
    for device, link, kind, name, section in (
        ("host", radio, "device", "host", "power"),
        (bare, radio, "device", bare, "power"),
        (path, LINK, "link", "wifi-5", "radio"),
    ):
        with pytest.raises(ProfileError) as caught:
            bound(config(device=device, **asks), relu, link)
        assert caught.value.message == f"energy is not known: the {kind} {name!r} has no `{section}`"
        assert caught.value.at == at
        assert caught.value.fix == f"give a {kind} profile of your own with `{section}` (0 where it costs nothing)"


@pytest.mark.parametrize("asks", [{"need": Need(max_cost=1.0)}, {"objectives": ("payload", "drop", "cost")}])
def test_money_needs_the_server_s_price_and_one_price_of_the_link(
    relu: ModelGraph, written: Written, asks: dict[str, Any]
) -> None:
    at = "$.need.max_cost" if "need" in asks else "$.objectives[2]"
    server = load_server("cloud-8core")
    path = written(msgspec.structs.replace(server, name="priced", price=Price(usd_s=1e-4)))
    by_byte = msgspec.structs.replace(LINK, usd_byte=0.0)
    for link in (by_byte, msgspec.structs.replace(LINK, usd_message=0.0)):
        assert bound(config(server=path, **asks), relu, link).value("drop") == 0.01
    free = written(msgspec.structs.replace(server, name="unpriced", price=None))
    for name, link, kind, section in (
        ("host", by_byte, "server", "price"),
        (free, by_byte, "server", "price"),
        (path, LINK, "link", "usd_byte"),
    ):
        with pytest.raises(ProfileError) as caught:
            bound(config(server=name, **asks), relu, link)
        who = "wifi-5" if kind == "link" else name
        assert caught.value.message == f"cost is not known: the {kind} {who!r} has no `{section}`"
        assert caught.value.at == at


def test_what_is_not_asked_needs_no_figures(relu: ModelGraph) -> None:
    assert bound(config(), relu).value("energy") is None
