"""Every number of every shipped profile is listed with its unit and its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_text
from splitpoint.profiles.library import catalog
from splitpoint.profiles.library.figures import list_figures, list_unknown

SHIPPED = catalog.list_profiles()


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: f"{shipped.kind}-{shipped.name}")
def test_no_sourced_figure_is_left_out(shipped: catalog.Shipped) -> None:
    found = catalog.find_profile(shipped.name)
    assert (found.kind, found.profile) == (shipped.kind, shipped.profile)
    figures = list_figures(found.profile, found.sources)
    with_source = {f"$.{figure.path}": figure.source for figure in figures if figure.source is not None}
    assert with_source == found.sources


def test_a_figure_has_its_value_and_unit() -> None:
    device = catalog.find_profile("raspberry-pi-4")
    figures = {figure.path: figure for figure in list_figures(device.profile, device.sources)}
    dense = figures["compute.dense_macs_s"]
    assert dense.value == pytest.approx(8.54e9)
    assert dense.unit == "MAC/s"
    assert dense.source is not None
    assert "fit_profiles" in (dense.source.source or "")
    assert (figures["prediction_error"].value, figures["prediction_error"].unit) == (1.49, None)
    assert (figures["runtime.provider"].value, figures["runtime.provider"].source) == ("CPUExecutionProvider", None)
    assert "name" not in figures  # it is above the figures
    trace = catalog.find_profile("trace-walk")
    rates = {figure.path: figure for figure in list_figures(trace.profile, trace.sources)}["rates_bit_s"]
    assert isinstance(rates.value, tuple)
    assert (len(rates.value), rates.unit) == (120, "bit/s")


def test_what_is_not_known_is_named() -> None:
    assert list_unknown(catalog.load_device("raspberry-pi-4-ncnn")) == (
        "memory.ram_bytes",
        "memory.flash_bytes",
        "power",
        "serial.zstd_bytes_s",
    )
    assert list_unknown(catalog.load_link("wifi-5")) == ("usd_byte", "usd_message")


def test_a_link_at_another_rate_keeps_the_sources_of_the_rest() -> None:
    found = catalog.find_profile("wifi-5@2 Mbit/s")
    assert found.profile.name == "wifi-5@2 Mbit/s"
    assert "$.rtt_s" in found.sources
    assert "$.uplink_bit_s" not in found.sources


def test_a_file_is_a_device_or_a_link_by_its_fields(tmp_path: Path) -> None:
    library = Path(catalog.__file__).parent
    for folder, name, kind in (("devices", "pixel-4", "device"), ("links", "lte-m", "link")):
        path = tmp_path / f"{name}.yaml"
        write_text(path, (library / folder / path.name).read_text(encoding="utf-8"))
        found, shipped = catalog.find_profile(str(path)), catalog.find_profile(name)
        assert (found.kind, found.profile, found.sources) == (kind, shipped.profile, shipped.sources)


@pytest.mark.parametrize("name", ["raspbery-pi-4", "raspberry-pi-4@2 Mbit/s", "raspberry-pi-4@12 dB"])
def test_an_unknown_name_of_any_kind_gets_near_ones_and_what_to_do(name: str) -> None:
    with pytest.raises(ProfileError, match=r"unknown profile .* Did you mean 'raspberry-pi-4'.*splitpoint calibrate"):
        catalog.find_profile(name)
