"""What the names on the pages stand for while the tests run them: small networks, pictures, plans and profiles.

`fill` makes what most pages mention, `prepare` what one page needs beside it or in place of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
from numpy.typing import NDArray
from PIL import Image

from splitpoint.planner.flow import plan
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import DataConfig, PlanConfig, SearchConfig, TrainConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.network.inputs import InputSpec, guess_spec, preprocess
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.docs.blocks import ROOT
from splitpoint.tests.nets import with_weights
from splitpoint.tests.small_plan import SIDE, config_of, write_inputs

LINK = "awgn-5db"  # of known SNR: pages ask for other rates and for other SNRs
NAMES: Mapping[str, str] = {  # a name that a page's program takes from its reader -> what gives it a value
    "boxes": "import numpy as np\nboxes = np.array([[4.0, 2.0, 12.0, 9.0]])",
    "height": "height = 64",
    "model": "model = 'model.onnx'",
    "pictures": "pictures = 'photos'",
    "plan": "from splitpoint import Plan\nplan = Plan.load('plan')",
    "width": "width = 64",
}
VIT = "google/vit-base-patch16-224"  # a folder of that name is taken before the hub
DETECTOR = """
<ir_version: 9, opset_import: ["" : 17]>
detector (float[1,3,64,64] x) => (float[1,84,8] boxes) <float[3,3,4,4] w1, float[3] b1, float[3,3,4,4] w2, float half,
    float sharp, int64[3] rows, float[1,64,4] places, float[1,20,8] coarse, int64[1] last> {
    c1 = Conv <strides = [4, 4]> (x, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (r1, w2)
    above = Sub (c2, half)
    steep = Mul (above, sharp)
    map = Sigmoid (steep)
    flat = Reshape (map, rows)
    scores = Transpose <perm = [0, 2, 1]> (flat)
    best = ReduceMax <axes = [2]> (scores)
    fine = Concat <axis = 2> (places, best, scores)
    boxes = Concat <axis = 1> (fine, coarse)
}
"""
FIVE_CONVOLUTIONS = """
<ir_version: 9, opset_import: ["" : 17]>
mine (float[1,3,224,224] x) => (float[1,64,224,224] y)
    <float[64,3,3,3] w0, float[64,64,3,3] w1, float[64,64,3,3] w2, float[64,64,3,3] w3, float[64,64,3,3] w4> {
    c0 = Conv <pads = [1, 1, 1, 1]> (x, w0)
    c1 = Conv <pads = [1, 1, 1, 1]> (c0, w1)
    c2 = Conv <pads = [1, 1, 1, 1]> (c1, w2)
    c3 = Conv <pads = [1, 1, 1, 1]> (c2, w3)
    y = Conv <pads = [1, 1, 1, 1]> (c3, w4)
}
"""


def fill(folder: Path) -> None:
    """model.onnx, photos/, photo.png, plan/ (a split, over LINK), photos.yaml (which trains), mine.yaml, examples/."""
    write_inputs(folder)
    outcome = plan(load_problem(msgspec.structs.replace(config_of(folder), link=LINK)))
    inside = [p for p in outcome.points if p.candidate.codec == "fast" and p.candidate.cut != "x"]
    write_plan(outcome, max(inside, key=lambda p: p.accuracy.payload_bytes), folder / "plan")
    np.savez(folder / "train.npz", x=_smooth(np.random.default_rng(2), 200))
    config = PlanConfig(
        model="model.onnx",
        data=DataConfig(source="photos"),
        train=TrainConfig(source="train.npz", minutes=0.02),
        device="raspberry-pi-4",
        server="cloud-8core",
        link=LINK,
        search=SearchConfig(evaluations=12, codecs=("fast", "rate-bottleneck")),
    )
    write_yaml(folder / "photos.yaml", config)
    write_yaml(folder / "mine.yaml", msgspec.structs.replace(load_device("raspberry-pi-4"), name="mine"))
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("papers", "__pycache__"))


def prepare(page: str, folder: Path) -> None:
    """What this page speaks of, in a folder that was filled."""
    if page in _OF_A_PAGE:
        _OF_A_PAGE[page](folder)


def typed(text: str, folder: Path) -> str:
    """The command or program with values in place of MODEL, DIR of pictures and SHA256."""
    sha256 = hashlib.sha256((folder / "plan" / "plan.yaml").read_bytes()).hexdigest()
    for name, value in (("MODEL", "model.onnx"), ("DIR", "photos"), ("SHA256", sha256)):
        text = re.sub(rf"\b{name}\b", value, text)
    return text


def _smooth(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures (N, SIDE, SIDE, 3) like those of small_plan.py."""
    coarse = np.kron(rng.uniform(0, 255, size=(count, 4, 4, 3)), np.ones((1, SIDE // 4, SIDE // 4, 1)))
    return np.clip(coarse + rng.normal(scale=8, size=coarse.shape), 0, 255).astype(np.uint8)


def _numbers(folder: Path) -> None:
    """data.npz: pictures, and what the network says of them within 0.05."""
    rng = np.random.default_rng(3)
    x, (spec, _) = _smooth(rng, 60), guess_spec((1, 3, SIDE, SIDE), "float32")
    session = open_session((folder / "model.onnx").read_bytes(), level="all", threads=1)
    answers = np.concatenate([session.run({"x": preprocess(picture, spec)})["scores"] for picture in x])
    np.savez(folder / "data.npz", x=x, y=(answers + rng.uniform(-0.05, 0.05, answers.shape)).astype(np.float32))


def _walk(folder: Path) -> None:
    """walk.txt: seconds and Mbit/s."""
    (folder / "walk.txt").write_text("".join(f"{second} {2 + second % 7}\n" for second in range(120)))


def _four_latencies(folder: Path) -> None:
    """mine.onnx: 7.5 GMACs, about four times ResNet-18."""
    (folder / "mine.onnx").write_bytes(with_weights(FIVE_CONVOLUTIONS))


def _squares(folder: Path) -> None:
    """yolox.yaml: squares of 16 pixels in three colours on 64x64 grey, their boxes, and a network that finds them.

    Windows of 16 pixels around the middle of each cell of 8; a score is the share of a colour in its window.
    """
    excess = np.full((3, 3), -0.5) + 1.5 * np.eye(3)  # a channel above the mean of the others
    weights = {
        "w1": np.tile(excess[:, :, None, None] / 16 / 190, (1, 1, 4, 4)),
        "b1": np.full(3, -0.1),
        "w2": np.tile(np.eye(3)[:, :, None, None] / 16, (1, 1, 4, 4)),
        "half": np.array(0.65),
        "sharp": np.array(40.0),
        "places": np.tile([0.5, 0.5, np.log(2), np.log(2)], (1, 64, 1)),  # in cells; 16 pixels are two
        "coarse": np.zeros((1, 20, 8)),  # of strides 16 and 32: nothing
    }
    proto = onnx.parser.parse_model(DETECTOR)
    stored = {name: value.astype(np.float32) for name, value in weights.items()} | {"rows": np.array([1, 3, 64])}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in stored.items())
    del proto.graph.value_info[:]
    (folder / "yolox.onnx").write_bytes(proto.SerializeToString())
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(4)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(40):
        picture = rng.normal(110, 8, (64, 64, 3))
        for left, top in [(8 * x + 4, 8 * y + 4) for x in (0, 4) for y in (0, 4) if rng.random() < 0.6]:
            x, y, colour = left + 8 * int(rng.integers(2)), top + 8 * int(rng.integers(2)), int(rng.integers(3))
            picture[y : y + 16, x : x + 16] = np.where(np.arange(3) == colour, 230, 40) + rng.normal(0, 6, (16, 16, 3))
            box = {"bbox": [x, y, 16, 16], "category_id": colour + 1, "iscrowd": 0}
            annotations.append(box | {"id": len(annotations), "image_id": number})
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / "pictures" / f"{number:02}.png")
        images.append({"id": number, "file_name": f"{number:02}.png", "width": 64, "height": 64})
    categories = [{"id": index, "name": name} for index, name in enumerate(("red", "green", "blue"), 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document), encoding="utf-8")
    config = PlanConfig(
        model="yolox.onnx",
        input=InputSpec(size=64),
        data=DataConfig(source="pictures"),
        device="raspberry-pi-4",
        server="cloud-8core",
        search=SearchConfig(evaluations=12, codecs=("raw", "fast")),
    )
    write_yaml(folder / "yolox.yaml", config)


def _vision_transformer(folder: Path) -> None:
    """A small network of that architecture, not trained, whose answers differ; photos without labels."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        num_labels=10, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, patch_size=32
    )
    torch.manual_seed(0)
    network = ViTForImageClassification(config).eval()
    pictures = torch.from_numpy(_smooth(np.random.default_rng(5), 40)).permute(0, 3, 1, 2) / 64 - 2
    with torch.no_grad():
        scores = network(torch.nn.functional.interpolate(pictures, size=224, mode="bilinear")).logits
        network.classifier.bias -= scores.mean(0)
    network.save_pretrained(folder / VIT)
    photos = sorted((folder / "photos").rglob("*.png"))
    for photo in photos:
        photo.rename(folder / "photos" / photo.name)
    for place in (folder / "photos").iterdir():
        if place.is_dir():
            place.rmdir()


_OF_A_PAGE: Mapping[str, Callable[[Path], None]] = {
    "docs/detection.md": _squares,
    "docs/how-to/hugging-face.md": _vision_transformer,
    "docs/how-to/own-device.md": _four_latencies,
    "docs/how-to/own-link.md": _walk,
    "docs/how-to/own-metric.md": _numbers,
}
