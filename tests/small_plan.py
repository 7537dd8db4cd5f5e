"""A small network, labelled photographs, and a plan of them, for tests that need a plan directory.

``python tests/small_plan.py DIR`` makes them in seconds: DIR/model.onnx, DIR/photos/CLASS/*.png, DIR/photo.png and
DIR/plan (a cut inside the network, an entropy coder), with the payload and output of the photo as DIR/photo.payload and
DIR/photo.npy, which another environment has to reproduce.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
from numpy.typing import NDArray
from PIL import Image

from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import DataConfig, PlanConfig, SearchConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.network.inputs import guess_spec, preprocess, read_picture
from splitpoint.profiles.network.runtime import open_session

CLASSES, SIDE, PICTURES = 4, 16, 80
MODEL = f"""
<ir_version: 9, opset_import: ["" : 17]>
small (float[1,3,{SIDE},{SIDE}] x) => (float[1,{CLASSES}] scores) {{
    c0 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w0)
    r0 = Relu (c0)
    c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r0, w1)
    r1 = Relu (c1)
    pooled = GlobalAveragePool (r1)
    flat = Flatten (pooled)
    scores = Gemm (flat, w2, b2)
}}
"""
WEIGHTS = {"w0": (8, 3, 3, 3), "w1": (12, 8, 3, 3), "w2": (12, CLASSES)}


def make(folder: Path) -> None:
    """Fill `folder`, which exists and is empty."""
    write_inputs(folder)
    outcome = plan(load_problem(config_of(folder)))
    inside = [p for p in outcome.points if p.candidate.codec == "fast" and p.candidate.cut != "x"]
    point = max(inside, key=lambda p: p.accuracy.payload_bytes)
    written = write_plan(outcome, point, folder / "plan")
    payload = written.head(read_picture(folder / "photo.png", written.file.input))
    (folder / "photo.payload").write_bytes(payload)
    np.save(folder / "photo.npy", np.asarray(written.tail(payload)))


def config_of(
    folder: Path, codecs: tuple[str, ...] = ("fast",), *, evaluations: int = 6, max_drop: float = 0.5
) -> PlanConfig:
    """A plan of what `write_inputs` wrote to `folder`."""
    return PlanConfig(
        model=str(folder / "model.onnx"),
        data=DataConfig(source=str(folder / "photos")),
        device="raspberry-pi-4",
        server="cloud-8core",
        link="lte-cat1",
        need=Need(max_drop=max_drop),
        search=SearchConfig(evaluations=evaluations, codecs=codecs, race=False),
        threads=1,
    )


def write_inputs(folder: Path) -> None:
    """The model, and smooth seeded pictures in the folder of the class that the network sees in them."""
    rng = np.random.default_rng(1)
    coarse = np.kron(rng.uniform(0, 255, size=(PICTURES, 4, 4, 3)), np.ones((1, 4, 4, 1)))
    pictures = np.clip(coarse + rng.normal(scale=8, size=coarse.shape), 0, 255).astype(np.uint8)
    spec, _ = guess_spec((1, 3, SIDE, SIDE), "float32")
    session = open_session(_model(np.zeros(CLASSES)), level="all", threads=1)
    scores = np.concatenate([session.run({"x": preprocess(picture, spec)})["scores"] for picture in pictures])
    bias = -scores.mean(axis=0)  # every class is seen
    (folder / "model.onnx").write_bytes(_model(bias))
    for number, (picture, label) in enumerate(zip(pictures, (scores + bias).argmax(axis=1), strict=True)):
        home = folder / "photos" / str(label)
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(home / f"{number:02}.png")
    Image.fromarray(pictures[0]).save(folder / "photo.png")


def _model(bias: NDArray[np.floating[Any]]) -> bytes:
    proto, rng = onnx.parser.parse_model(MODEL), np.random.default_rng(0)
    weights = {name: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])) for name, shape in WEIGHTS.items()}
    for name, values in (weights | {"b2": bias}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return bytes(proto.SerializeToString())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
