"""Impossible facts: each is one error that names the file, the field and the next step, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.limits.need import Need, requirements
from splitpoint.planner.setup import loading
from splitpoint.planner.setup.config import DataConfig, PlanConfig, read_config
from splitpoint.planner.setup.device_limits import bind
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml
from splitpoint.profiles.library.catalog import load_device, load_link
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

LINK = "kind: fixed\nname: l\ndescription: d\ndownlink_bit_s: 1 Mbit/s\nrtt_s: 1 ms\n"
AWGN = "kind: awgn\nname: l\ndescription: d\ndownlink_bit_s: 1 Mbit/s\nrtt_s: 1 ms\nbandwidth_hz: 1 MHz\n"
TRACE = "kind: trace\nname: l\ndescription: d\ndownlink_bit_s: 1 Mbit/s\nrtt_s: 1 ms\nfile: t.txt\n"


def link(folder: Path, text: str) -> Link:
    (folder / "link.yaml").write_text(text)
    return load_link(folder / "link.yaml")


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("-1 Mbit/s", "more than 0"),
        ("0", "more than 0"),
        (".inf", "not finite"),
        (".nan", "not finite"),
        ("20 Mbyte", '"20 Mbyte"'),
        ("20 parsec", '"20 parsec"'),
        ('"20"', '"20"'),
        ("true", "True"),
        ("null", "null"),
    ],
)
def test_a_rate_that_is_none(tmp_path: Path, rate: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        link(tmp_path, LINK + f"uplink_bit_s: {rate}\n")
    assert "uplink_bit_s" in str(caught.value)
    assert "link.yaml" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("snr", ["-.inf", ".nan", "-.inf dB", "20 V", "-1000 dB"])
def test_an_snr_that_is_none(tmp_path: Path, snr: str) -> None:
    with pytest.raises(ProfileError, match=r"snr_db") as caught:
        link(tmp_path, AWGN + f"snr_db: {snr}\n")
    assert "link.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0 1\n1 1\n2 1\n60 1\n61 1\n", "gap"),
        ("0 1\n1 fast\n2 1\n", "fast"),
        ("0 1\n2 1\n1 1\n", "back"),
        ("0 1\n1 -3\n2 1\n", "-3"),
        ("0 1\n1 nan\n2 1\n", "nan"),
        ("", "at least two lines, got 0"),
    ],
)
def test_a_recording_that_is_none(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(rows)
    with pytest.raises(ProfileError) as caught:
        link(tmp_path, TRACE + "format: two-column\n")
    assert message in str(caught.value)
    assert "t.txt" in str(caught.value)


def test_a_missing_rate_shows_what_it_would_look_like(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"missing field 'uplink_bit_s' - at `\$`") as caught:
        link(tmp_path, LINK)
    assert "20 Mbit/s" in str(caught.value)


CONFIG = PlanConfig(model="m.onnx", data=DataConfig(source="d"), device="raspberry-pi-4", server="cloud-8core")


@pytest.mark.parametrize(
    ("need", "field"),
    [
        ("deadline: -1 ms", "$.need.deadline"),
        ("deadline: .inf", "$.need.deadline"),
        ("deadline: 5 Mbit/s", "$.need.deadline"),
        ("deadline_share: 1.0", "$.need.deadline_share"),
        ("deadline_share: 0 %", "$.need.deadline_share"),
        ("max_energy: 5 W", "$.need.max_energy"),
        ("max_energy: -1 J", "$.need.max_energy"),
        ("max_cost: -0.1 USD", "$.need.max_cost"),
        ("min_frame_rate: 10 Hz", "$.need.min_frame_rate"),
        ("max_device_memory: 1.5", "$.need.max_device_memory"),
        ("max_latency: 5 ms", "$.need"),
    ],
)
def test_a_need_that_is_none(tmp_path: Path, need: str, field: str) -> None:
    (tmp_path / "plan.yaml").write_text(f"model: m.onnx\ndata: {{source: d}}\nneed:\n  {need}\n")
    with pytest.raises(ProfileError) as caught:
        read_config(tmp_path / "plan.yaml")
    assert f"`{field}`" in str(caught.value)


def test_a_share_without_a_deadline() -> None:
    with pytest.raises(ProfileError, match="a share of cases needs a deadline") as caught:
        requirements(Need(deadline_share=0.99), labelled=True)
    assert caught.value.at == "$.need.deadline_share"


def changed(**fields: object) -> PlanConfig:
    return msgspec.structs.replace(CONFIG, **fields)


@pytest.mark.parametrize(
    ("config", "link_name", "at", "message"),
    [
        (
            changed(need=Need(max_energy=1.0), device="host"),
            "wifi-5",
            "$.need.max_energy",
            "device 'host' has no `power`",
        ),
        (
            changed(need=Need(max_energy=1.0), link="lte-cat1"),
            "lte-cat1",
            "$.need.max_energy",
            "'lte-cat1' has no `radio`",
        ),
        (changed(need=Need(max_cost=1e-5)), "wifi-5", "$.need.max_cost", "server 'cloud-8core' has no `price`"),
        (changed(objectives=("latency", "energy"), device="pixel-4"), "wifi-5", "$.objectives[1]", "'pixel-4' has no"),
        (changed(objectives=("cost",)), "wifi-5", "$.objectives[0]", "cost is not known"),
    ],
)
def test_a_limit_that_no_profile_can_check(
    small: ModelGraph, config: PlanConfig, link_name: str, at: str, message: str
) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        bind(requirements(config.need, labelled=True), config, small, load_link(link_name))
    assert caught.value.at == at
    assert caught.value.fix is not None


def test_a_device_without_memory_for_any_head(small: ModelGraph, tmp_path: Path) -> None:
    device = load_device("stm32h747")
    tiny = msgspec.structs.replace(device, memory=msgspec.structs.replace(device.memory, model_bytes=100))
    (tmp_path / "tiny.yaml").write_text(dump_yaml(tiny))
    config = changed(device=str(tmp_path / "tiny.yaml"))
    with pytest.raises(ProfileError, match="has 100 B for a head, and the model's input alone") as caught:
        bind(requirements(config.need, labelled=True), config, small, load_link("wifi-5"))
    assert str(caught.value.at).endswith("tiny.yaml: $.memory.model_bytes")


def test_limits_of_the_device_bind_unasked(small: ModelGraph) -> None:
    config = changed(device="stm32h747")
    needs = bind(requirements(config.need, labelled=True), config, small, load_link("wifi-5"))
    bounds = {bound.limit: (bound.value, bound.device) for bound in needs.bounds}
    assert (bounds["device memory"], bounds["device flash"]) == ((2**20, "stm32h747"), (2**21, "stm32h747"))
    host = changed(device="host")
    own = bind(requirements(host.need, labelled=True), host, small, load_link("wifi-5"))
    assert [bound.limit for bound in own.bounds] == ["drop"]


@pytest.mark.parametrize(
    ("asked", "value", "device"), [(2**19, 2**19, ""), (2**20, 2**20, "stm32h747"), (2**30, 2**20, "stm32h747")]
)
def test_the_tighter_of_what_is_asked_and_what_the_device_has_binds(
    small: ModelGraph, asked: int, value: int, device: str
) -> None:
    config = changed(device="stm32h747", need=Need(max_device_memory=asked))
    needs = bind(requirements(config.need, labelled=True), config, small, load_link("wifi-5"))
    (memory,) = [bound for bound in needs.bounds if bound.limit == "device memory"]
    assert (memory.value, memory.device) == (value, device)


def test_the_default_floor_is_a_point_with_labels_and_a_tenth_of_disagreement_without() -> None:
    assert requirements(Need(), labelled=True).bounds == (Bound(limit="drop", value=0.01),)
    assert requirements(Need(), labelled=False).bounds == (Bound(limit="quality", value=0.9),)
    assert requirements(Need(min_agreement=0.8), labelled=True).bounds == (Bound(limit="quality", value=0.8),)
    both = requirements(Need(max_drop=0.02, min_agreement=0.8, deadline=0.1), labelled=True)
    assert [(bound.limit, bound.value) for bound in both.bounds] == [("latency", 0.1), ("drop", 0.02), ("quality", 0.8)]
    with pytest.raises(ProfileError, match="max_drop needs labels"):
        requirements(Need(max_drop=0.02), labelled=False)


def test_an_unknown_objective_names_its_nearest(small: ModelGraph) -> None:
    config = changed(objectives=("latency", "paylod"))
    with pytest.raises(ProfileError, match="Did you mean 'payload'") as caught:
        bind(requirements(config.need, labelled=True), config, small, load_link("wifi-5"))
    assert caught.value.at == "$.objectives[1]"


@pytest.fixture(scope="module")
def small() -> ModelGraph:
    import onnx.parser

    text = '<ir_version: 9, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }'
    return load_graph(bytes(onnx.parser.parse_model(text).SerializeToString()), name="small")


def test_a_network_too_large_for_a_plan_is_refused_before_anything_is_measured(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PROTOBUF_LIMIT", 100)
    with pytest.raises(ProfileError, match=r"a plan directory holds networks up to 2 GB[\s\S]*model.onnx"):
        loading.load_problem(read_config(home / "labelled.yaml"))
