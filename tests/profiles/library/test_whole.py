"""Devices of which whole networks alone were published."""

from __future__ import annotations

import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library import catalog
from splitpoint.profiles.library.whole import whole_networks


def test_figures_are_the_source_s() -> None:
    found = {(one.name, one.network, one.precision): one.milliseconds for one in whole_networks()}
    assert len({name for name, _, _ in found}) == 10
    assert len(found) == len(whole_networks())
    assert found["dragonwing-iq-9075-npu", "beit", "float"] == 17.716
    assert all(value > 0 for value in found.values())


@pytest.mark.parametrize("load", [catalog.load_device, catalog.load_server, catalog.find_profile])
def test_a_plan_refuses_them_in_one_sentence(load: object) -> None:
    with pytest.raises(ProfileError, match="'galaxy-s24-npu': whole networks alone were published") as error:
        load("galaxy-s24-npu")  # type: ignore[operator]  # one of three loaders
    assert "splitpoint calibrate" in (error.value.fix or "")
    with pytest.raises(ProfileError, match="unknown link"):
        catalog.load_link("galaxy-s24-npu")
