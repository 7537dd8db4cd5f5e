"""Cuts with seconds, and profiles by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import splitpoint
from splitpoint.profiles.machine.device import Device


def test_seconds_of_a_cut_add_up_and_follow_the_link(home: Path) -> None:
    model = home / "model.onnx"
    fast, slow = (
        splitpoint.cuts(model, device="raspberry-pi-4", server="cloud-8core", link=link)
        for link in ("wifi-5@50 Mbit/s", "wifi-5@1 Mbit/s")
    )
    plain = splitpoint.cuts(model)
    assert plain.timed is None
    assert [cut.latency_s for cut in plain.cuts] == [None] * len(plain.cuts)
    assert fast.timed == "raspberry-pi-4, wifi-5@50 Mbit/s, cloud-8core"
    for cut, later in zip(fast.cuts, slow.cuts, strict=True):
        assert cut.latency_s == pytest.approx(cut.head_s + cut.link_s + cut.tail_s)
        assert later.link_s > cut.link_s
        # 49 Mbit/s more for the bytes of the tensors, headers of packets aside
        assert later.link_s - cut.link_s == pytest.approx(8 * cut.bytes * (1e-6 - 2e-8), rel=0.15, abs=2e-3)
    heads = [cut.head_s for cut in fast.cuts]
    assert heads[0] == 0.0
    assert heads == sorted(heads)
    tails = [cut.tail_s for cut in fast.cuts]
    assert tails == sorted(tails, reverse=True)


def test_only_the_host_is_measured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("splitpoint.planner.face.models.obtain_profile", fail)
    splitpoint.cuts(home / "model.onnx", device="raspberry-pi-4", server="cloud-8core")
    with pytest.raises(AssertionError, match="measured"):
        splitpoint.cuts(home / "model.onnx", device="raspberry-pi-4")  # the server is the host


def test_profiles_by_name_and_by_file(tmp_path: Path) -> None:
    device, server = splitpoint.load_profile("raspberry-pi-4"), splitpoint.load_profile("cloud-8core")
    assert isinstance(device, Device)
    assert isinstance(server, Device)
    assert splitpoint.load_profile("wifi-5").name == "wifi-5"
    with pytest.raises(splitpoint.ProfileError, match=r"unknown profile 'wfi-5'[\s\S]*wifi-5"):
        splitpoint.load_profile("wfi-5")
    (tmp_path / "mine.yaml").write_text("nonsense: 1\n", encoding="utf-8")
    with pytest.raises(splitpoint.ProfileError, match="nonsense"):
        splitpoint.load_profile(tmp_path / "mine.yaml")
