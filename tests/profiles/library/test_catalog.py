"""Shipped profiles: each loads by name, each number has a source, and unknown names get help."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from msgspec import inspect as shapes

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import structs
from splitpoint.profiles.library import catalog
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import KINDS

SHIPPED = catalog.list_profiles()


def quantities(value: object, shape: shapes.Type, at: str) -> list[str]:
    """Paths of every quantity that is not null, as the types declare them."""
    if value is None:
        return []
    if isinstance(shape, shapes.UnionType):
        tag = value.get("kind") if isinstance(value, dict) else None
        members = [m for m in shape.types if not isinstance(m, shapes.NoneType)]
        fitting = [m for m in members if not isinstance(m, shapes.StructType) or m.tag in (None, tag)]
        return quantities(value, fitting[0], at)
    if isinstance(shape, shapes.Metadata):
        return [at] if (shape.extra or {}).get("kind") in KINDS else quantities(value, shape.type, at)
    if isinstance(shape, shapes.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in shape.fields}
        return [p for key, v in value.items() if key in fields for p in quantities(v, fields[key], f"{at}.{key}")]
    if isinstance(shape, shapes.DictType) and isinstance(value, dict):
        return [p for key, v in value.items() for p in quantities(v, shape.value_type, f"{at}.{key}")]
    if isinstance(shape, shapes.VarTupleType) and isinstance(value, dict) and "value" in value:
        return [at]  # one source for a whole list
    if isinstance(shape, shapes.VarTupleType) and isinstance(value, list):
        return [p for i, v in enumerate(value) for p in quantities(v, shape.item_type, f"{at}[{i}]")]
    return []


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda s: f"{s.kind}-{s.name}")
def test_every_number_of_a_shipped_profile_has_a_source(shipped: catalog.Shipped) -> None:
    folder = Path(catalog.__file__).parent / {"device": "devices", "server": "servers", "link": "links"}[shipped.kind]
    tree = structs.parse_yaml_mapping(folder / f"{shipped.name}.yaml")
    shape = shapes.type_info(Link if shipped.kind == "link" else Device)
    numbers = quantities(tree, shape, "$")
    sources = catalog.sources(shipped.kind, shipped.name)
    assert len(numbers) >= 3
    for path in numbers:
        source = sources.get(path)
        assert source is not None, f"{path} has no source"
        assert len(source.source or "") > 5, path
        assert len(source.quote or "") >= 8, path
        assert datetime.date.fromisoformat(source.date or ""), path


def test_a_number_without_a_source_would_be_noticed() -> None:
    tree = {"kind": "fixed", "uplink_bit_s": 1e6, "rtt_s": {"value": 1, "source": "x"}}
    assert quantities(tree, shapes.type_info(Link), "$") == ["$.uplink_bit_s", "$.rtt_s"]


def test_each_profile_loads_by_its_name_and_says_its_name() -> None:
    loaders = {"device": catalog.load_device, "server": catalog.load_server, "link": catalog.load_link}
    for shipped in SHIPPED:
        assert loaders[shipped.kind](shipped.name) == shipped.profile
        assert shipped.profile.name == shipped.name
        assert shipped.profile.description
    assert {s.kind for s in SHIPPED} == {"device", "server", "link"}


def test_a_profile_by_path(tmp_path: Path) -> None:
    link = catalog.load_link("wifi-5")
    structs.write_yaml(tmp_path / "mine.yaml", link)
    assert catalog.load_link(tmp_path / "mine.yaml") == link


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(ProfileError, match=r"unknown link 'wfi-5'. Did you mean 'wifi-5' or 'wifi-6' or 'wifi-4'\?"):
        catalog.load_link("wfi-5")
    with pytest.raises(ProfileError, match=r"unknown device 'zzzz'. \(splitpoint profiles; .*calibrate\)"):
        catalog.load_device("zzzz")
    with pytest.raises(ProfileError, match="unknown server"):
        catalog.load_server("raspberry-pi-4")
    with pytest.raises(ProfileError, match="no such file"):
        catalog.load_device("missing/mine.yaml")


NPU = """
name: npu
description: ""
runtime: {name: any, provider: npu, threads: 1, precision: int8}
compute:
  dense_macs_s: 500 GMAC/s
  pointwise_macs_s: 300 GMAC/s
  depthwise_macs_s: 50 GMAC/s
  matmul_macs_s: 180 GMAC/s
  bytes_s: 20 GB/s
  node_overhead_s: 8 us
  run_overhead_s: 50 us
accelerator:
  runs: [Conv, Relu]
"""


def npu(folder: Path, more: str) -> Path:
    path = folder / "npu.yaml"
    path.write_text(f"{NPU.strip()}\n  {more}\n", encoding="utf-8")
    return path


def test_the_cpu_of_an_accelerator_is_read_with_it(tmp_path: Path) -> None:
    way = "crossing_s: 100 us, crossing_bytes_s: 320 MB/s"
    for cpu, name in (("raspberry-pi-4", "raspberry-pi-4"), ("./mine.yaml", "pixel-4")):
        structs.write_yaml(tmp_path / "mine.yaml", catalog.load_device("pixel-4"))
        path = npu(tmp_path, f"fallback: {{cpu: {cpu}, {way}}}")
        for load in (catalog.load_device, catalog.load_server):
            accelerator = load(path).accelerator
            assert accelerator is not None
            assert accelerator.fallback is not None
            assert accelerator.fallback.device is not None
            assert accelerator.fallback.device.name == name
            assert accelerator.fallback.crossing_s == pytest.approx(1e-4)
            assert accelerator.fallback.crossing_bytes_s == 3.2e8
    with pytest.raises(ProfileError, match=r"unknown device 'raspbery-pi-4'\. Did you mean 'raspberry-pi-4'"):
        catalog.load_device(npu(tmp_path, f"fallback: {{cpu: raspbery-pi-4, {way}}}"))
    with pytest.raises(ProfileError, match="coral-dev-board is an accelerator"):
        catalog.load_device(npu(tmp_path, f"fallback: {{cpu: coral-dev-board, {way}}}"))


def test_what_contradicts_itself_in_an_accelerator_is_refused(tmp_path: Path) -> None:
    for more, message in (
        ("lacks: [Softmax]", r"runs.*lacks.*got both"),
        ("takes: []", "runs nothing"),
        ("takes: [fp16]", r"takes\[0\]"),
        ("fallback: {cpu: raspberry-pi-4, crossing_bytes_s: 320 MB/s}", "crossing_s"),
    ):
        with pytest.raises(ProfileError, match=message):
            catalog.load_device(npu(tmp_path, more))
    text = npu(tmp_path, "first_part_only: true").read_text(encoding="utf-8")
    (tmp_path / "small.yaml").write_text(text.replace("[Conv", "[conv"), encoding="utf-8")
    with pytest.raises(ProfileError, match=r"runs\[0\]"):
        catalog.load_device(tmp_path / "small.yaml")
