"""A network and its Dynamic Switches trained together: top-1 and bytes at each rate.

    python -m splitpoint.benchmarks.joint_switch --data DIR --baseline FILE.pt --out FILE.pt [--epochs 14] [--threads 1]
    python -m splitpoint.benchmarks.joint_switch --data DIR --baseline FILE.pt --out FOLDER --pretrained [--epochs 1]

From scratch: the ResNet-20 of benchmarks/train_resnet20.py with a switch after its second stage (32 channels), trained
by the same recipe; each rate gets a third of every batch, and the loss is the cross-entropy, which the paper found best
from scratch (section 2). BASELINE is the same network without a switch, of as many epochs. Evaluated as in
benchmarks/learned.py: payload bytes through the ONNX tail, on 5,000 pictures. It takes the epochs (about a minute each
on an idle thread) and 2 minutes.

With --pretrained, BASELINE and switches are trained on together: with one switch behind each stage in turn, and with
switches behind all three at once, for as many epochs each; and once more with all switches, for the epochs of the three
together. A switch starts from principal components; the loss is cross-entropy, distillation of BASELINE's answers, and
the error of each switch's copy. Of the network with all switches a batch has an equal part for every rate of every
switch alone, and for every rate of all at once. Evaluated on the report half (2,500 pictures): with one switch at work
through the codec, with bytes; with all at work without a codec. It takes 7 minutes for each of the epochs, and 8 more,
on an idle thread; FOLDER keeps what is done.

The same command goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitpoint.benchmarks.cifar import resnet20, stratified_halves
from splitpoint.benchmarks.latency import NETS
from splitpoint.benchmarks.learned import BEHIND, CALIBRATION, HEADER, TRAINED, Bench, line, place_map
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.benchmarks.train_resnet20 import BATCH, SEED, Data, normalized, parser, pictures, train
from splitpoint.codecs.contract.protocol import LossTerm, TrainingCost
from splitpoint.codecs.learned.switch import build_switch, start_he, start_pca
from splitpoint.codecs.learned.switch_codec import DynamicSwitch
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.training.losses import cross_entropy, distillation, mse
from splitpoint.planner.training.precision import fast_products, trained_in
from splitpoint.profiles.network.torch_model import load_module

STAGE, BLOCKS = 2, 3  # the switch from scratch is after this stage; blocks of each
CHANNELS: Mapping[int, int] = {1: 16, 2: 32, 3: 64}  # behind each stage
EPOCHS = {False: 14, True: 1}  # from scratch, and from pretrained
PEAK = 0.05  # learning rate from pretrained: an eighth of that from scratch
REPORT = 1  # stratified half
TRAININGS: Mapping[str, tuple[tuple[int, ...], int]] = {  # stages with a switch, and how often the epochs
    "joint": ((1, 2, 3), 1),
    "single-1": ((1,), 1),
    "single-2": ((2,), 1),
    "single-3": ((3,), 1),
    "joint-long": ((1, 2, 3), 3),
}
Active = Mapping[int, int]  # the rate of every switch at work, by its stage; the others let the tensor through


class Joint(nn.Module):
    """A ResNet with switches behind stages; every part of a batch has its own ones at work."""

    def __init__(self, network: nn.Module, switches: Mapping[int, nn.Module], parts: Sequence[Active]) -> None:
        super().__init__()
        self.network, self.parts = network, tuple(parts)
        self.switches = nn.ModuleDict({str(stage): switch for stage, switch in switches.items()})
        self.errors: dict[int, torch.Tensor] = {}  # of each switch's copies in the last run
        for stage in switches:
            block = network.get_submodule(f"blocks.{stage * BLOCKS - 1}")
            block.register_forward_hook(lambda module, given, x, stage=stage: self._through(stage, x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of pictures."""
        answers: torch.Tensor = self.network(x)
        return answers

    def _through(self, stage: int, x: torch.Tensor) -> torch.Tensor:
        copies, errors = [], []
        for part, active in zip(x.float().tensor_split(len(self.parts)), self.parts, strict=True):
            if stage not in active or not len(part):
                copies.append(part)
                continue
            copies.append(self.switches[str(stage)](part, active[stage]).float())
            errors.append(mse(copies[-1], part.detach()))
        if errors:
            self.errors[stage] = torch.stack(errors).mean()
        return torch.cat(copies)


class _Given:
    """A training that was done before."""

    key = "given"

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self._weights = weights

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Give the module its weights."""
        module.load_state_dict(self._weights)
        return TrainingCost(steps=0, images=0, losses={})


def main(arguments: Sequence[str]) -> None:
    """Train, or go on; evaluate, and store."""
    reader = parser(__doc__)
    reader.add_argument("--baseline", type=Path, required=True)
    reader.add_argument("--pretrained", action="store_true")
    reader.set_defaults(epochs=None)
    options = reader.parse_args(arguments)
    options.epochs = options.epochs or EPOCHS[options.pretrained]
    torch.set_num_threads(options.threads)
    (from_pretrained if options.pretrained else from_scratch)(options)


def from_scratch(options: Namespace) -> None:
    """One switch and its network."""
    codec = the_codec()
    design = codec.design(CHANNELS[STAGE], rectified=True)
    torch.manual_seed(SEED)
    switch = build_switch(design, start_he(design, SEED))
    joint = Joint(load_module(f"{NETS}:resnet20"), {STAGE: switch}, parts_of([STAGE]))
    train(joint, pictures(options.data, "train"), options.out.with_suffix(".checkpoint"), options.epochs)
    torch.save(joint.state_dict(), options.out)

    baseline = resnet20(torch.load(options.baseline, weights_only=True))
    without = Bench("resnet20", baseline, options.data, options.threads)
    network = resnet20(dict(joint.network.state_dict()))
    bench = Bench("resnet20-joint", network, options.data, options.threads)
    bench.unsplit = without.unsplit  # what is lost is lost against the network without a switch
    cut = place_map(bench.graph, network, BEHIND["resnet20"][STAGE])
    rows = bench.measure_trained(cut, codec, _Given(switch.state_dict()), f"{TRAINED}, from scratch")
    top1 = 100 * without.unsplit.mean()
    print(f"top-1 without a switch {top1:.1f} %\n{HEADER}")
    for row in rows:
        print(line(row))
    found = {"epochs": options.epochs, "top1": top1, "rows": [dataclasses.asdict(row) for row in rows]}
    about = f"--data DIR --baseline FILE --out FILE --epochs {options.epochs} --threads {options.threads}"
    store(RESULTS / "learned-joint.json", found, command=f"joint_switch {about}", threads=options.threads)


def the_codec() -> DynamicSwitch:
    """The switch as plans have it."""
    codec = get_codec(TRAINED)
    assert isinstance(codec, DynamicSwitch)
    return codec


def parts_of(stages: Sequence[int]) -> tuple[Active, ...]:
    """What is at work in each part of a batch: one switch at one rate; of several switches also all at one rate."""
    rates = range(len(the_codec().rates))
    alone = tuple({stage: rate} for stage in stages for rate in rates)
    return alone + (tuple(dict.fromkeys(stages, rate) for rate in rates) if len(stages) > 1 else ())


def from_pretrained(options: Namespace) -> None:
    """Every training of `TRAININGS`, each evaluated and stored when it is done."""
    baseline = resnet20(torch.load(options.baseline, weights_only=True))
    options.out.mkdir(parents=True, exist_ok=True)
    without = Bench("resnet20", baseline, options.data, options.threads, half=REPORT)
    data = (*pictures(options.data, "train"), teacher(baseline, options))
    trained = []
    for name, (stages, times) in TRAININGS.items():
        kept = options.out / f"{name}.json"
        if not kept.exists():
            epochs = times * options.epochs
            joint, minutes = tuned(options, data, stages, options.out / f"{name}.checkpoint", epochs)
            steps = epochs * (len(data[0]) // BATCH)
            training = {"name": name, "stages": list(stages), "epochs": epochs, "steps": steps, "minutes": minutes}
            kept.write_text(json.dumps(training | judged(joint, without, options)))
        trained.append(json.loads(kept.read_text()))
        found = {
            "seed": SEED,
            "images": len(without.x),
            "top1": 100 * float(without.unsplit.mean()),
            "trained_in": trained_in(),
            "trainings": trained,
        }
        about = f"--data DIR --baseline FILE --out FOLDER --pretrained --epochs {options.epochs}"
        command = f"joint_switch {about} --threads {options.threads}"
        store(RESULTS / "learned-single-joint.json", found, command=command, threads=options.threads)


def teacher(baseline: nn.Module, options: Namespace) -> torch.Tensor:
    """Logits (N, classes) of the training pictures, computed once."""
    kept = options.out / "teacher.pt"
    if not kept.exists():
        with fast_products():
            torch.save(logits(baseline, pictures(options.data, "train")[0]).float(), kept)
    answers: torch.Tensor = torch.load(kept, weights_only=True)
    return answers


def logits(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Answers (N, classes) to pictures (N, 3, H, W) uint8."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module(normalized(part)) for part in torch.split(x, BATCH)])


def tuned(options: Namespace, data: Data, stages: Sequence[int], checkpoint: Path, epochs: int) -> tuple[Joint, float]:
    """The baseline trained on with switches behind `stages`, and the minutes of it."""
    torch.manual_seed(SEED)
    network = resnet20(torch.load(options.baseline, weights_only=True))
    x = data[0][:: len(data[0]) // CALIBRATION][:CALIBRATION]
    joint = Joint(network, {stage: started(network, stage, x) for stage in stages}, parts_of(stages))
    minutes = train(joint, data, checkpoint, epochs, loss_of=tuning_loss, peak=PEAK)
    return joint, minutes


def started(network: nn.Module, stage: int, x: torch.Tensor) -> nn.Module:
    """The switch behind a stage as it begins: principal components of the tensor on pictures x."""
    seen: list[torch.Tensor] = []
    block = network.get_submodule(f"blocks.{stage * BLOCKS - 1}")
    handle = block.register_forward_hook(lambda module, given, output: seen.append(output))
    logits(network, x)
    handle.remove()
    design = the_codec().design(CHANNELS[stage], rectified=True)
    return build_switch(design, start_pca(design, torch.cat(seen).numpy()))


def tuning_loss(module: nn.Module, data: Data, rows: NDArray[np.int64], rng: np.random.Generator) -> torch.Tensor:
    """Cross-entropy, distillation and the error of the switches (section 2), of pictures as they are."""
    assert isinstance(module, Joint)
    x, y, wanted = data
    with fast_products():
        answers = module(normalized(x[rows])).float()
    error = torch.stack(list(module.errors.values())).mean()
    return cross_entropy(answers, y[rows]) + distillation(answers, wanted[rows]) + error


def judged(joint: Joint, without: Bench, options: Namespace) -> dict[str, Any]:
    """Points lost with no switch at work, with one (through the codec, with bytes), and with all (without a codec)."""
    network = resnet20(dict(joint.network.state_dict()))  # without hooks
    bench = Bench("resnet20-tuned", network, options.data, options.threads, half=REPORT)
    none = lost(without.unsplit, bench.unsplit)
    bench.unsplit = without.unsplit  # what is lost is lost against the baseline
    rows = []
    stages = [int(stage) for stage in joint.switches]
    for stage in stages:
        cut = place_map(bench.graph, network, BEHIND["resnet20"][stage])
        weights = _Given(joint.switches[str(stage)].state_dict())
        for row in bench.measure_trained(cut, the_codec(), weights, TRAINED):
            print(line(row), flush=True)
            seen = {"stage": stage, "cut": row.cut, "rate": row.rate, "channels": row.channels}
            rows.append(
                seen
                | {"payload_bytes": row.payload_bytes, "drop_points": row.drop_points}
                | {"drop_low": row.drop_low, "drop_high": row.drop_high, "head_share": row.head_share}
            )
    together = []
    if len(stages) > 1:
        x, y = pictures(options.data, "val")
        half = stratified_halves(y.numpy())[REPORT]
        for rate, label in enumerate(each.label for each in the_codec().rates):
            joint.parts = (dict.fromkeys(stages, rate),)
            right = (logits(joint, x[half]).argmax(1) == y[half]).numpy()
            together.append({"rate": label} | lost(without.unsplit, right))
            print(together[-1], flush=True)
    return {"none": none, "rows": rows, "all": together}


def lost(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, float]:
    """Points of top-1 lost with their paired 95 % interval, of answers that are right."""
    drop = paired_drop(before, after, list(map(str, range(len(after)))))
    points = 100 * float(before.mean() - after.mean())
    return {"drop_points": points, "drop_low": 100 * drop.low, "drop_high": 100 * drop.high}


if __name__ == "__main__":
    main(sys.argv[1:])
