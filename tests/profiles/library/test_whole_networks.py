"""Boards of which whole networks alone were published: listed, shown, and never planned with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library import catalog
from splitpoint.profiles.library.whole_networks import BOARDS, list_whole_networks


def test_figures_are_the_source_s() -> None:
    found = list_whole_networks()
    assert tuple(found) == tuple(BOARDS)
    beit = [
        figure.seconds
        for figure in found["dragonwing-iq-9075"]
        if (figure.network, figure.runtime, figure.precision) == ("beit", "onnx", "float")
    ]
    assert beit == [0.017716]


def test_a_figure_is_a_latency_or_a_throughput_and_a_board_has_one_of_them() -> None:
    throughputs = set()
    for name, figures in list_whole_networks().items():
        assert BOARDS[name].source.startswith("https://")
        assert all((figure.seconds or figure.per_second or 0) > 0 for figure in figures)
        assert all((figure.seconds is None) != (figure.per_second is None) for figure in figures)
        assert len({figure.seconds is None for figure in figures}) == 1
        throughputs |= {name} if figures[0].seconds is None else set()
    assert throughputs == {name for name in BOARDS if name.startswith(("rk", "rv", "hailo"))}


@pytest.mark.parametrize("load", [catalog.load_device, catalog.load_server, catalog.find_profile])
def test_a_plan_refuses_them_with_the_next_step(load: Callable[[str], object]) -> None:
    for name in BOARDS:
        with pytest.raises(ProfileError, match=rf"'{name}' has published figures of whole networks only") as refused:
            load(name)
        assert (refused.value.fix or "").startswith(f"splitpoint profiles {name} shows them; for a plan ")
        assert "splitpoint calibrate" in (refused.value.fix or "")
    with pytest.raises(ProfileError, match="unknown link"):
        catalog.load_link("galaxy-s24")


def test_a_chip_that_a_plan_knows_by_another_name_is_named() -> None:
    assert not set(BOARDS) & {shipped.name for shipped in catalog.list_profiles()}
    with pytest.raises(ProfileError) as refused:
        catalog.load_device("rk3588-npu")
    assert "for a plan --device rk3588-little-ncnn, or --device rk3588-ncnn, or --device rk3588-vulkan" in (
        refused.value.fix or ""
    )


def test_they_are_near_names_where_they_can_be_shown_alone() -> None:
    with pytest.raises(ProfileError, match="Did you mean 'galaxy-s25' or 'galaxy-s24'"):
        catalog.find_profile("galaxy-s26")
    with pytest.raises(ProfileError, match="unknown device 'galaxy-s26'") as unknown:
        catalog.load_device("galaxy-s26")
    assert "galaxy-s25" not in str(unknown.value)
