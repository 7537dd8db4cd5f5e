"""Finding a shipped profile by its kind and words."""

from __future__ import annotations

import pytest

from splitpoint.planner.output.documents.listings import profiles_document
from splitpoint.profiles.errors import ProfileError


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
    with pytest.raises(ProfileError, match="no shipped device has the words 'galaxy s24'"):
        profiles_document("device", "galaxy s24")
