"""Finding a shipped profile by its kind and words."""

from __future__ import annotations

import pytest

from splitpoint.planner.output.documents.listings import figures_document, profiles_document
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.whole_networks import BOARDS


def test_every_word_is_looked_for_in_any_case_and_only_the_kind_is_listed() -> None:
    found = profiles_document("device", "Jetson ORIN").profiles
    assert {row.name for row in found} >= {"jetson-orin-nano", "jetson-orin-nano-vulkan", "jetson-agx-orin-ncnn"}
    assert all("orin" in f"{row.name} {row.description}".lower() for row in found)
    assert {row.kind for row in profiles_document("link").profiles} == {"link"}
    assert len(profiles_document().profiles) > len(profiles_document("device").profiles)


def test_a_family_stands_together() -> None:
    names = [row.name for row in profiles_document("device").profiles]
    places = [names.index(name) for name in ("snapdragon-410-ncnn", "snapdragon-888-ncnn", "arduino-uno-q-ncnn")]
    between = names[min(places) : max(places)]
    assert not [name for name in between if name.startswith("jetson")]


def test_words_that_nothing_has_are_an_error_with_the_next_step() -> None:
    with pytest.raises(ProfileError, match="no shipped device has the words 'galaxy s99'"):
        profiles_document("device", "galaxy s99")


def test_boards_with_whole_networks_only_say_so_behind_the_profiles_of_their_kind() -> None:
    (row,) = profiles_document("device", "galaxy s24").profiles
    assert (row.name, row.kind) == ("galaxy-s24", "device")
    assert row.description.endswith("latencies of whole networks only, not for a plan")
    assert [row.name for row in profiles_document("server", "a100").profiles] == ["nvidia-a100"]
    shown = profiles_document().profiles
    kinds = [row.kind for row in shown]
    assert kinds == sorted(kinds, key=["device", "server", "link"].index)
    for kind in ("device", "server"):
        boards = [row.name in BOARDS for row in shown if row.kind == kind]
        assert boards == sorted(boards)
        assert any(boards)


def test_a_figure_of_a_whole_network_is_shown_as_it_was_published() -> None:
    shown = figures_document("galaxy-s24").figures
    assert shown is not None
    found = {figure.name: (figure.value, figure.unit, figure.text) for figure in shown.figures}
    assert found["beit 224x224 onnx float NPU"] == (9.267e-3, "s", "9.27 ms")
    assert shown.not_known == ("compute",)
    shown = figures_document("hailo-8l").figures
    assert shown is not None
    assert {figure.unit for figure in shown.figures} == {"/s"}
    assert all(figure.source and figure.date for figure in shown.figures)
