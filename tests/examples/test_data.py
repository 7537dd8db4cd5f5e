"""The examples' data and networks: only what installed packages ship, disjoint, labelled right, preprocessed right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from splitpoint.planner.samples.dataset import NetworkInputs, SetName, check_labels, network_input, split_three
from splitpoint.planner.setup.config import read_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_photographs_are_distinct_and_whole_scenes_stay_together() -> None:
    data = example("photos").data()
    assert data.group_count == 7
    pictures = [s.picture for s in data.samples]
    assert len({p.tobytes() for p in pictures}) == len(pictures) == 84
    assert all(p.std() > 10 for p in pictures)
    assert data.sha256() == example("photos").data().sha256()


@pytest.mark.parametrize("name", ["photos.yaml", "photos-wifi.yaml"])
def test_the_photos_configurations_put_every_scene_into_one_set(name: str) -> None:
    config = read_config(EXAMPLES / name).data
    sets: dict[SetName, tuple[str, ...]] = {
        "calibration": config.calibration,
        "search": config.search,
        "report": config.report,
    }
    assign = {scene: name for name, scenes in sets.items() for scene in scenes}
    assert len(assign) == sum(len(scenes) for scenes in sets.values())
    split = split_three(example("photos").data(), assign=assign)
    assert split.report.group_count == 2
    assert split.search.group_count == 3


def test_lite0_names_what_is_in_the_photographs() -> None:
    photos = example("photos")
    # ImageNet classes: espresso; daisy; tiger cat, Egyptian cat, tabby; moped, motor scooter; missile, projectile.
    expected = {
        "coffee": {967},
        "flower": {985},
        "chelsea": {281, 282, 285},
        "motorcycle": {665, 670},
        "rocket": {657, 744},
    }
    module = photos.lite0()
    firsts = {s.group: s for s in reversed(photos.scenes())}  # the first crop of each scene
    for scene, classes in expected.items():
        with torch.inference_mode():
            scores = module(torch.from_numpy(network_input(firsts[scene], photos.SPEC)))
        assert int(scores.argmax()) in classes, scene


def test_digits_train_to_the_same_weights_and_read_unseen_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = example("digits")
    monkeypatch.setattr(digits, "EPOCHS", 3)
    module, other = digits.model(), digits.model()
    for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    data = digits.data()
    check_labels(data, 10)
    assert len(data) == 897
    with torch.inference_mode():
        scores = module(torch.from_numpy(np.concatenate(list(NetworkInputs(data)))))
    assert (scores.argmax(1).numpy() == data.labels).mean() > 0.85  # 0.98 after all epochs; chance is 0.1
