"""Options that commands of the command line share, as typer takes them, and those that rows of tables give."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from splitpoint.planner.deploy.task import TASKS
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.setup.config import MOST_DEVICES, MOST_MINUTES, SEEDS, SamplerName
from splitpoint.profiles.machine.machine import MOST_THREADS

__all__ = [
    "ArtifactPlace",
    "Color",
    "Confident",
    "Constant",
    "CpuFallback",
    "Data",
    "DeadlineShare",
    "Decode",
    "DeviceName",
    "DeviceRate",
    "Devices",
    "Evaluations",
    "Json",
    "Keep",
    "KindName",
    "Labels",
    "LinkName",
    "LinkRates",
    "Mean",
    "MeasuredDevice",
    "MeasuredServer",
    "ModelArgument",
    "Outputs",
    "OwnMetric",
    "PreferName",
    "Preset",
    "ProviderName",
    "ProviderOption",
    "Sampler",
    "Scale",
    "Score",
    "Search",
    "Seed",
    "ServerDevices",
    "ServerLoad",
    "ServerName",
    "Size",
    "SkipDamaged",
    "Speeds",
    "Std",
    "Storage",
    "StoredProfile",
    "StudyName",
    "TaskName",
    "Threads",
    "TrainMinutes",
    "TrustCode",
    "with_conditions",
    "with_limits",
]


def __dir__() -> list[str]:
    return __all__


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
ModelArgument = Annotated[str, typer.Argument(help="An .onnx file, or file.py:factory of a torch module.")]
Size = Annotated[
    list[str] | None,
    typer.Option(help="Input shape where the model leaves it open: 1x3x224x224, or NAME=1x512 for each of several."),
]
Constant = Annotated[
    list[str] | None,
    typer.Option(help="An input that is always the same, such as sr=16000 or scale=[1,2]; it is folded."),
]
TrainMinutes = Annotated[
    float | None,
    typer.Option(min=0, max=MOST_MINUTES, help="Most minutes of trainings that are not kept yet. [default: no limit]"),
]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Run code that a plan's own files name.")]
Keep = Annotated[int, typer.Option(min=0, max=99, help="Plans that are replaced and kept, as DIR.1, DIR.2 and so on.")]
SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Leave out pictures that cannot be read.")]
Threads = Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="ONNX Runtime threads. [default: cores]")]
Data = Annotated[str | None, typer.Option(help="Folder of pictures (DIR/class/*.jpg), .npz, or file.py:function.")]
Labels = Annotated[
    str | None, typer.Option(help="Of a folder of pictures: boxes (COCO JSON, YOLO text), or PNG masks.")
]
TaskName = Annotated[
    str | None, typer.Option(help=f"What the network is for: {', '.join(TASKS)}. [default: a classifier, if it is]")
]
Decode = Annotated[str | None, typer.Option(help="How outputs become boxes (yolox, yolov5, ...) or tokens (ctc, ...).")]
Score = Annotated[
    float | None, typer.Option(min=0, max=1, help="Detection: least score of a box that counts. [default: 0.3]")
]
Outputs = Annotated[
    list[str] | None, typer.Option("--output", help="Name of an output that the metric reads; may be repeated.")
]
OwnMetric = Annotated[str | None, typer.Option(help="A metric of your own, file.py:function.")]
DeviceName = Annotated[str | None, typer.Option(help="Device profile by name or path. [default: host]")]
ServerName = Annotated[str | None, typer.Option(help="Server profile by name or path. [default: host]")]
LinkName = Annotated[str | None, typer.Option(help="Link profile by name or path. [default: wifi-5]")]
Devices = Annotated[str | None, typer.Option(help="Rows: device profiles. [default: the plan's and all shipped ones]")]
Speeds = Annotated[bool, typer.Option("--speeds", help="Rows: 1/16 to 16 times the speed of the plan's device.")]
LinkRates = Annotated[
    str | None, typer.Option(help="Columns: 1Mbit/s,5Mbit/s or 0.1..50Mbit/s. [default: 50 kbit/s to 100 Mbit/s]")
]
Preset = Annotated[
    Literal["imagenet", "unit", "signed", "levels"] | None,
    typer.Option("--input", help="Levels of the pictures: torchvision's ImageNet, 0..1, -1..1, or 0..255."),
]
Mean = Annotated[str | None, typer.Option(help="Mean of the pictures' channels, such as 0.485,0.456,0.406.")]
Std = Annotated[str | None, typer.Option(help="Standard deviation, in the same units. [default: 1]")]
Scale = Annotated[
    float | None, typer.Option(help="Levels are divided by it first. [default: 255; 1 for a mean or std above 1]")
]
Color = Annotated[Literal["rgb", "bgr", "gray"] | None, typer.Option(help="Order of the channels.")]
PreferName = Annotated[
    str | None, typer.Option(help=f"What the answer is best in, of {', '.join(PREFERENCES)}. [default: latency]")
]
Confident = Annotated[bool, typer.Option("--confident", help="Bind the 95 % bound of the quality.")]
DeadlineShare = Annotated[
    str | None, typer.Option(help="Share of cases in which the deadline holds, such as 99%. [default: mean]")
]
MeasuredDevice = Annotated[
    str | None, typer.Option(help="Whole network on the device, as you measured it: 47ms, or 47ms,48ms.")
]
MeasuredServer = Annotated[str | None, typer.Option(help="The same on the server.")]
ServerLoad = Annotated[str | None, typer.Option(help="Requests at the shared server, such as 50/s.")]
ServerDevices = Annotated[
    int | None, typer.Option(min=1, max=MOST_DEVICES, help="Devices that share the server, each with --device-rate.")
]
DeviceRate = Annotated[str | None, typer.Option(help="Frames a second that each device sends, such as 5/s.")]
ProviderName = Annotated[
    str | None,
    typer.Option("--provider", help="Execution provider of ONNX Runtime, such as openvino or cuda. [default: cpu]"),
]
ProviderOption = Annotated[
    list[str] | None, typer.Option(help="An option of the provider, such as device_type=CPU; may be repeated.")
]
CpuFallback = Annotated[bool, typer.Option("--cpu-fallback", help="The CPU may run what the provider cannot.")]
Evaluations = Annotated[int | None, typer.Option(min=0, help="Candidates to measure. [default: 120]")]
Seed = Annotated[int | None, typer.Option(min=0, max=SEEDS - 1, help="Seed of all choices. [default: 0]")]
KindName = Annotated[Literal["device", "server", "link"] | None, typer.Option("--kind", help="Only these.")]
Search = Annotated[str | None, typer.Option(help="Only those with every one of these words, such as 'jetson orin'.")]
Sampler = Annotated[SamplerName | None, typer.Option(help="What proposes candidates. [default: tpe]")]
Storage = Annotated[
    str | None, typer.Option(help="Where the study is: a journal's file, or postgresql://USER@HOST/DATABASE.")
]
StudyName = Annotated[str | None, typer.Option("--study", help="Name of the study. [default: from the problem]")]
ArtifactPlace = Annotated[
    str | None,
    typer.Option("--artifacts", help="What machines share: DIR or s3://BUCKET/PREFIX. [default: beside the journal]"),
]
StoredProfile = Annotated[Path | None, typer.Option(help="Stored model profile (splitpoint profile --out).")]


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with an option for each limit that can be asked for, in place of its keyword arguments."""
    return _with_options(command, _LIMITS)


def with_conditions(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of what can be asked again of a plan, in place of its keyword arguments."""
    return _with_options(command, {**_CONDITIONS, **_LIMITS})


_LIMITS: Mapping[str, tuple[Any, Any]] = {
    limit.field: (Annotated[str | None, typer.Option(help=f"{limit.help} [default: {limit.default}]")], None)
    for limit in LIMITS.values()
    if limit.field is not None
}
_CONDITIONS: Mapping[str, tuple[Any, Any]] = {
    "device": (Annotated[str | None, typer.Option(help="Another device; host: where the plan measured.")], None),
    "server": (Annotated[str | None, typer.Option(help="Another server; host: where the plan measured.")], None),
    "link": (Annotated[str | None, typer.Option(help="Another link, by name or path.")], None),
    "server_load": (ServerLoad, None),
    "prefer": (PreferName, None),
    "confident": (Confident, False),
    "deadline_share": (DeadlineShare, None),
}


def _with_options(command: Callable[..., None], options: Mapping[str, tuple[Any, Any]]) -> Callable[..., None]:
    """`command` with `options` (name -> annotation and default) in place of its keyword arguments."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    command.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]  # typer's
    return command
