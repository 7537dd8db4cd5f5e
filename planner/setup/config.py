"""The configuration of one plan: a YAML file, which flags override; the plan directory contains a copy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from splitpoint.planner.deploy.task import Task, TaskName
from splitpoint.planner.limits.need import Need
from splitpoint.profiles.errors import ProfileError, shorten
from splitpoint.profiles.files.structs import read_yaml
from splitpoint.profiles.machine.machine import Threads
from splitpoint.profiles.network.inputs import LARGEST_SIDE, LARGEST_TENSOR, InputSpec
from splitpoint.profiles.units import ByteCount, Decibel, PerSecond, PositiveSeconds

__all__ = [
    "MOST_DEVICES",
    "MOST_MINUTES",
    "SEEDS",
    "DataConfig",
    "FrameRate",
    "OtherModel",
    "PlanConfig",
    "PruneConfig",
    "SamplerName",
    "SearchConfig",
    "SharedBy",
    "TrainConfig",
    "override",
    "read_config",
]


def __dir__() -> list[str]:
    return __all__


MOST_TIMINGS = 100  # of the whole network on one machine
MOST_VARIANTS = 100  # of each kind: every one is a network that is measured and searched
MOST_NAMES = 10_000  # of groups, cuts and codecs
MOST_ROUNDS = 1_000_000  # of a search
MOST_DEVICES = 1_000_000_000  # that share a server
MOST_MINUTES = 100_000.0  # of a training: ten weeks
SEEDS = 2**32  # the sampler takes a seed of 32 bits
Size = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_TENSOR)]
Shape = Annotated[tuple[Size, ...], msgspec.Meta(max_length=16)]
FrameRate = Annotated[float, msgspec.Meta(gt=0, le=1e9, extra={"kind": "per_s"})]
Side = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_SIDE)]  # pixels
Names = Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_NAMES)]
Ratio = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Precision = Literal["fp32", "fp16", "int8"]
SamplerName = Literal["tpe", "nsga2", "gp", "random", "exhaustive"]
Prefer = Literal["latency", "payload", "energy", "cost", "quality", "knee"]  # `planner.limits.preferences`


Timings = Annotated[tuple[PositiveSeconds, ...], msgspec.Meta(max_length=MOST_TIMINGS)]


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the inputs come from, and which groups go to which set (default: split at random by group)."""

    source: str  # a folder, an .npz, or "file.py:function"
    labels: str | None = None  # of pictures: boxes (COCO JSON, a folder of YOLO text) or a folder of masks (PNG)
    calibration: Names = ()  # groups that fit codecs; all three left out: divided at random, by group
    search: Names = ()  # groups on which candidates are ranked
    report: Names = ()  # groups that are never searched
    skip_damaged: bool = False  # leave out pictures that cannot be read


class OtherModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another network or export for the same task, searched beside the given one: another width, another input size."""

    name: str  # its label on the front
    model: str  # as `model` of the plan
    input: InputSpec | None = None  # the given network's where it is left out


class PruneConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pruned heads of a torch model: this share of the filters, or of the multiply-adds, before each cut is removed."""

    # Filters of least L1 norm, the same share of each layer; or those whose removal changes the loss least, of all
    # layers together, by gradients on the calibration set.
    method: Literal["magnitude", "taylor"] = "magnitude"
    # What is removed before a cut: a network for each.
    ratios: Annotated[tuple[Ratio, ...], msgspec.Meta(max_length=MOST_VARIANTS)] = (0.0, 0.25, 0.5)
    # What the ratios are shares of; macs: of the multiply-adds, by gradients only.
    ratio_of: Literal["filters", "macs"] = "filters"
    cuts: Names = ()  # nodes after which to cut (`splitpoint cuts`); none: three are chosen
    correct: bool = True  # the layers after the cut by least squares on the calibration set
    # What is trained after each round: all of the network, or its layers before the cut alone, so that the server's
    # layers stay those of the given network, less the channels that no longer come.
    trained: Literal["network", "head"] = "network"


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What weights are trained on, and for how long, and what was trained elsewhere; nothing is trained without it."""

    # A folder of class folders, an .npz, or "file.py:function"; what judges is left out. None: nothing is trained, only
    # loaded.
    source: str | None = None
    load: str | None = msgspec.field(default=None, name="from")  # a folder of `splitpoint train --save`
    minutes: Annotated[float, msgspec.Meta(gt=0, le=MOST_MINUTES)] = 10.0  # of each training, on this machine
    # Minutes of all trainings of one run that are not kept yet; None: no limit.
    budget: Annotated[float, msgspec.Meta(ge=0, le=MOST_MINUTES)] | None = None
    augment: bool = True  # pictures for pruned networks are moved and mirrored
    activations: ByteCount = (
        4_000_000_000  # on disk, of tensors at cuts on the training inputs; fewer inputs where it is less
    )
    cuts: Names = ()  # nodes after which codecs are trained (`splitpoint cuts`); none: three are chosen
    pruned: bool = False  # codecs are trained behind pruned heads, too: minutes for each network, codec and cut
    end_to_end: Names = ()  # codecs with which the network is trained, too, at each of the cuts
    # What codecs that send channel symbols are trained for: an SNR, or two between which it is drawn for each input;
    # none: the link's own.
    snr_db: Annotated[tuple[Decibel, ...], msgspec.Meta(max_length=2)] = ()


class SearchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is searched."""

    evaluations: Annotated[int, msgspec.Meta(ge=0, le=MOST_ROUNDS)] = 120  # accuracy measurements of split candidates
    sampler: SamplerName = (
        "tpe"  # what proposes the next candidate; exhaustive: all of the table, whatever their number
    )
    patience: Annotated[int, msgspec.Meta(ge=0, le=MOST_ROUNDS)] = (
        30  # evaluations that may gain nothing; 0: any number
    )
    race: bool = True  # measure on growing parts of the search set, and stop what surely cannot win
    seed: Annotated[int, msgspec.Meta(ge=0, lt=SEEDS)] = 0  # of all that is drawn at random
    max_cuts: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROUNDS)] = 10  # cuts on the table's front that are searched
    max_tensors: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1  # tensors that cross together (skip connections)
    codecs: Names = ()  # names (`splitpoint codecs`); none: all that can be used


class SharedBy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The devices that send to one server, where their requests queue; each as the device of the plan."""

    devices: Annotated[int, msgspec.Meta(ge=1, le=MOST_DEVICES)]  # how many share the server
    frame_rate: FrameRate  # frames a second of each

    @property
    def requests_s(self) -> float:
        """Requests a second of all devices together."""
        return self.devices * self.frame_rate


class PlanConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that `splitpoint plan` needs; paths are relative to the configuration file."""

    model: str  # an .onnx file, or "file.py:factory" / "package.module:factory" of a torch module
    input: InputSpec | None = None  # what the network takes; None: guessed from the model
    shapes: Shape | dict[str, Shape] | None = None  # of free inputs: one shape, or one by the name of each input
    inputs: dict[str, Any] = {}  # inputs that are always the same: a number, or nested lists of numbers
    # Searched together with `model`, with which their quality is compared.
    models: Annotated[tuple[OtherModel, ...], msgspec.Meta(max_length=MOST_VARIANTS)] = ()
    sizes: Annotated[tuple[Side, ...], msgspec.Meta(max_length=MOST_VARIANTS)] = ()  # other (square) inputs to try
    # Of the weights, one variant each; int8: of activations, too.
    precisions: Annotated[tuple[Precision, ...], msgspec.Meta(max_length=3)] = ("fp32",)
    precision_cuts: Names = ()  # convert only the head before each of these; none: the whole network
    prune: PruneConfig | None = None
    train: TrainConfig | None = None
    data: DataConfig
    device: str = "host"  # a name (`splitpoint profiles`), a file of your own, or host: this machine, measured
    server: str = "host"  # as `device`
    measured_device: Timings = ()  # seconds of the whole network on the device, that you measured: once or twice
    measured_server: Timings = ()  # the same of the server
    link: str = "wifi-5"  # a name, NAME@RATE, NAME@SNR, or a file of your own
    server_load: PerSecond = 0.0  # requests a second of all its devices at the server, where they queue
    shared_by: SharedBy | None = None  # the same as devices and frames a second, in place of server_load
    task: TaskName | Task | None = None  # what the network is for; None: a classifier is recognized
    metric: str | None = None  # "file.py:function": a metric of your own, in place of a task
    need: Need = Need()
    prefer: Prefer = "latency"  # what the answer is to be best in, among points that meet `need`
    objectives: Names = ("latency", "payload", "drop")  # of the front: latency, payload, drop, energy, cost
    search: SearchConfig = SearchConfig()
    accept_baseline: bool = False  # plan although the unsplit network is no better than chance on the labels
    threads: Threads | None = None  # of ONNX Runtime on this host; default all cores
    cache: ByteCount | None = None  # memory for results to use again; default a quarter of what is free, at most 2 GB

    @property
    def requests_s(self) -> float:
        """Requests a second at the server, of all devices that share it; 0: nobody queues there."""
        return self.server_load if self.shared_by is None else self.shared_by.requests_s

    def asked_task(self) -> Task | None:
        """The task that was asked for, or None; raises `ProfileError` for a metric of your own beside another task."""
        task = Task(name=self.task) if isinstance(self.task, str) and self.task != "custom" else self.task
        if self.metric is None:
            return Task(name="custom") if isinstance(task, str) else task
        if isinstance(task, Task) and task.metric != self.metric:
            raise ProfileError(f"task {task.name} has a metric of its own, and a metric is given too", at="$.metric")
        return Task(name="custom", metric=self.metric)


T = TypeVar("T", bound=msgspec.Struct)


def override(struct: T, **given: Any) -> T:
    """`struct` with the values that are not None; a mapping changes the fields of a struct in it."""
    changes = {}
    for name, value in given.items():
        inner = getattr(struct, name)
        changes[name] = (
            override(inner, **value) if isinstance(inner, msgspec.Struct) and isinstance(value, dict) else value
        )
    return msgspec.structs.replace(struct, **{name: value for name, value in changes.items() if value is not None})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Paths:
    base: Path

    def resolve(self, text: str) -> str:
        """`text` with its file part as an absolute path when that file exists relative to the configuration.

        Raises `ProfileError` for what no file system takes as a name.
        """
        name, colon, member = text.partition(":")
        path = self.base / name
        try:
            Path(text).exists()  # what others will look for, with the member
            return f"{path.resolve()}{colon}{member}" if path.exists() else text
        except OSError as error:
            raise ProfileError(f"this is no name of a file: {error.strerror}", at=shorten(repr(text))) from error


def read_config(path: Path) -> PlanConfig:
    """The configuration in `path`, with absolute paths; raises `ProfileError` that names the field."""
    config = read_yaml(path, PlanConfig)
    paths = _Paths(base=path.resolve().parent)
    return msgspec.structs.replace(
        config,
        model=paths.resolve(config.model),
        models=tuple(msgspec.structs.replace(other, model=paths.resolve(other.model)) for other in config.models),
        task=_with_paths(config.task, paths),
        metric=None if config.metric is None else paths.resolve(config.metric),
        data=msgspec.structs.replace(
            config.data,
            source=paths.resolve(config.data.source),
            labels=None if config.data.labels is None else paths.resolve(config.data.labels),
        ),
        train=(
            None
            if config.train is None
            else msgspec.structs.replace(
                config.train,
                source=None if config.train.source is None else paths.resolve(config.train.source),
                load=None if config.train.load is None else paths.resolve(config.train.load),
            )
        ),
        device=paths.resolve(config.device),
        server=paths.resolve(config.server),
        link=paths.resolve(config.link),
    )


def _with_paths(task: TaskName | Task | None, paths: _Paths) -> TaskName | Task | None:
    """The task with the files that it names as absolute paths: a decoder, a metric, anchors."""
    if not isinstance(task, Task):
        return task
    given = {name: getattr(task, name) for name in ("decode", "metric", "anchors")}
    files = {name: paths.resolve(text) for name, text in given.items() if ":" in text or (text and name == "anchors")}
    return msgspec.structs.replace(task, **files)
