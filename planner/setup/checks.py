"""Everything that can be refused before a model is loaded or a picture is read: names, files and contradictions."""

from __future__ import annotations

import difflib
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.cost.message import symbol_channel
from splitpoint.planner.cuts.enumeration import find_cut
from splitpoint.planner.limits.need import check_share
from splitpoint.planner.limits.objectives import OBJECTIVES, find_objective
from splitpoint.planner.setup.config import PlanConfig, TrainConfig
from splitpoint.planner.training.trained_files import read_trained
from splitpoint.profiles.errors import ProfileError, shorten
from splitpoint.profiles.library.catalog import load_device, load_link, load_server
from splitpoint.profiles.network.inputs import LARGEST_TENSOR
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import is_torch_spec

__all__ = ["GIVEN_FROM_PYTHON", "check_config", "check_cuts", "check_data_source", "check_model_source"]


def __dir__() -> list[str]:
    return __all__


GIVEN_FROM_PYTHON = "splitpoint_given_"  # begins the names of a model and data that a Python program handed over
BRIDGE = "; codecs are trained where one tensor crosses, a switch there would need a bridge over the branch"


def check_config(config: PlanConfig) -> None:
    """Raise `ProfileError` for the first thing that no plan could use; nothing is loaded that takes long."""
    check_model_source(config.model, at="$.model")
    for i, other in enumerate(config.models):
        check_model_source(other.model, at=f"$.models[{i}].model")
    check_data_source(config.data.source)
    if config.train is not None:
        _check_train(config.train)
    if config.device != "host":
        load_device(config.device)
    if config.server != "host":
        load_server(config.server)
    _check_timings(config)
    link = load_link(config.link)
    for i, name in enumerate(config.search.codecs):
        try:
            codec = get_codec(name)
        except CodecError as error:
            raise ProfileError(str(error), at=f"$.search.codecs[{i}]") from error
        if "channel" in codec.needs and symbol_channel(link) is None:
            raise ProfileError(
                f"{name} sends channel symbols, and {link.name} is known by its rate, without an SNR",
                at=f"$.search.codecs[{i}]",
                fix="a link of kind awgn or rayleigh_block (splitpoint profiles), or another codec",
            )
    for i, name in enumerate(() if config.train is None else config.train.end_to_end):
        _check_end_to_end(name, config, at=f"$.train.end_to_end[{i}]")
    if not config.objectives:
        raise ProfileError("there is no objective", at="$.objectives", fix=f"known: {', '.join(OBJECTIVES)}")
    for i, name in enumerate(config.objectives):
        find_objective(name, at=f"$.objectives[{i}]")
    check_share(config.need)
    _check_load(config)
    _check_different([other.name for other in config.models], at="$.models")
    _check_sets(config)
    _check_shapes(config)
    _check_constants(config)
    if config.prune is not None and not is_torch_spec(config.model):
        raise ProfileError(
            f"only a torch module can be pruned, and {config.model} is an ONNX file",
            at="$.prune",
            fix="model: file.py:factory, or remove prune:",
        )
    if config.prune is not None and (config.prune.ratio_of, config.prune.method) == ("macs", "magnitude"):
        raise ProfileError(
            "method magnitude removes the same share of each layer's filters, so its ratios are of filters",
            at="$.prune.ratio_of",
            fix="method: taylor, or ratio_of: filters",
        )
    if (
        config.prune is not None
        and config.prune.trained == "head"
        and (config.train is None or config.prune.method != "taylor")
    ):
        raise ProfileError(
            "no pruned network is trained: training takes method taylor and the data of train:",
            at="$.prune.trained",
            fix="method: taylor and train: {source: ...}, or remove trained:",
        )
    if config.precision_cuts and set(config.precisions) <= {"fp32"}:
        raise ProfileError(
            "there is no precision to lower these heads to", at="$.precision_cuts", fix="precisions: [fp32, int8]"
        )


def _check_train(train: TrainConfig) -> None:
    """Something to train on, or trained codecs to load; files of the latter are read and compared with their hashes."""
    if train.source is None and train.load is None:
        raise ProfileError(
            "there is nothing to train on and nothing to load",
            at="$.train",
            fix="source: a folder, an .npz or file.py:function; from: a folder that splitpoint train --save wrote",
        )
    if train.source is not None:
        check_data_source(train.source)
    elif train.end_to_end:
        raise ProfileError(
            "networks are trained end to end on data, and there are none", at="$.train.end_to_end", fix="$.train.source"
        )
    if train.load is not None:
        read_trained(Path(train.load))


def _check_load(config: PlanConfig) -> None:
    """The load of a shared server is said once."""
    if config.shared_by is not None and config.server_load:
        raise ProfileError(
            f"the server's load is given twice: {config.server_load:g} /s, and {config.shared_by.devices} devices of"
            f" {config.shared_by.frame_rate:g} /s each",
            at="$.shared_by",
            fix="remove server_load or shared_by",
        )


def _check_end_to_end(name: str, config: PlanConfig, *, at: str) -> None:
    """A codec with which a network can be trained is trained for the answers, and takes part in the search."""
    taking_part = config.search.codecs or tuple(REGISTRY)
    fit = [each for each in taking_part if _trains_for_answers(each)]
    if name not in fit:
        known = ", ".join(fit) or "none of search.codecs"
        raise ProfileError(f"no network is trained end to end with {name!r}", at=at, fix=f"known: {known}")
    link = load_link(config.link)
    if "channel" in get_codec(name).needs and symbol_channel(link) is None:
        raise ProfileError(
            f"{name} sends channel symbols, and {link.name} is known by its rate, without an SNR",
            at=at,
            fix="a link of kind awgn or rayleigh_block (splitpoint profiles), or another codec",
        )


def _trains_for_answers(name: str) -> bool:
    """Back-and-Forth prediction is trained for the tensor behind a convolution that stays as it is."""
    needs = get_codec(name).needs
    return "training" in needs and "convolution" not in needs


def check_cuts(config: PlanConfig, graph: ModelGraph) -> None:
    """Raise `ProfileError` unless `graph`, the given network, has every cut that the configuration names."""
    for i, name in enumerate(config.precision_cuts):
        find_cut(graph, name, at=f"$.precision_cuts[{i}]")
    for i, name in enumerate(() if config.prune is None else config.prune.cuts):
        find_cut(graph, name, at=f"$.prune.cuts[{i}]")
    for i, name in enumerate(() if config.train is None else config.train.cuts):
        find_cut(graph, name, at=f"$.train.cuts[{i}]", several=BRIDGE)


def check_model_source(source: str, *, at: str | None = None) -> None:
    """Raise `ProfileError` unless the file of a model is there; a torch module is imported later."""
    _check_given("model", source, at=at)
    file = source.rpartition(":")[0] if is_torch_spec(source) else source
    path = Path(file)
    if is_torch_spec(source) and path.suffix != ".py":
        return  # a package that can be imported
    where = source if at is None else f"{at}: {source}"
    if not path.exists():
        near = _near_file(path)
        fix = f"did you mean {near}?" if near else "an .onnx file, file.py:factory or package.module:factory"
        raise ProfileError("there is no such model file", at=where, fix=fix)
    if path.is_dir():
        raise ProfileError("this is a folder, expected a model", at=where, fix="an .onnx file, or file.py:factory")
    if path.suffix == ".py" and not is_torch_spec(source):
        raise ProfileError(
            "a Python file needs its factory", at=where, fix=f"{source}:NAME of the function that makes it"
        )
    if path.suffix in (".pt", ".pth", ".ckpt", ".safetensors", ".tflite", ".h5", ".keras", ".pb"):
        raise ProfileError(
            f"{path.suffix} files are not read",
            at=where,
            fix="export to ONNX, or write file.py:factory that returns the torch module with its weights",
        )


def check_data_source(source: str) -> None:
    """Raise `ProfileError` unless the folder, .npz file or Python file of the data is there."""
    _check_given("data", source, at=None)
    path = Path(source)
    if path.exists():
        return
    file, colon, name = source.rpartition(":")
    if colon and name.isidentifier() and (not file.endswith(".py") or Path(file).exists()):
        return  # a function, imported later
    missing = Path(file) if colon and file.endswith(".py") else path
    near = _near_file(missing)
    raise ProfileError(
        f"there are no data: no such folder or file {str(missing)!r}",
        at=source,
        fix=f"did you mean {near}?" if near else "a folder of pictures, data.npz, or file.py:function",
    )


def _check_given(what: str, source: str, *, at: str | None) -> None:
    """Refuse the name of something that a Python program handed over, after that program has ended."""
    if GIVEN_FROM_PYTHON not in source or Path(source).exists() or source.rpartition(":")[0] in sys.modules:
        return
    raise ProfileError(
        f"the {what} of this plan came from a Python program, which has ended",
        at=source if at is None else f"{at}: {source}",
        fix=f"call splitpoint.plan there again; or write the {what} to a file and put its path here",
    )


def _check_different(names: list[str], *, at: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProfileError(f"two variants have the name {twice[0]!r}", at=at, fix="give each its own name")


def _check_sets(config: PlanConfig) -> None:
    """A group is in one set."""
    data = config.data
    groups = [*data.calibration, *data.search, *data.report]
    twice = sorted(group for group, count in Counter(groups).items() if count > 1)
    if twice:
        raise ProfileError(f"group {twice[0]!r} is listed twice", at="$.data", fix="list it in one of the three sets")


def _check_shapes(config: PlanConfig) -> None:
    """A tensor of a given shape fits into memory."""
    shapes = config.shapes if isinstance(config.shapes, dict) else {} if config.shapes is None else {"": config.shapes}
    for name, shape in shapes.items():
        if math.prod(shape) > LARGEST_TENSOR:
            raise ProfileError(
                f"expected at most {LARGEST_TENSOR:,} elements, got {'x'.join(map(str, shape))}",
                at=f"$.shapes.{name}" if name else "$.shapes",
            )


def _check_constants(config: PlanConfig) -> None:
    """An input that is always the same is a number, or nested lists of numbers in the form of an array."""
    for name, value in config.inputs.items():
        try:
            numbers = np.asarray(value).dtype.kind in "biuf"
        except ValueError:  # lists of different lengths
            numbers = False
        if not numbers:
            raise ProfileError(
                f"expected a number or lists of numbers of equal lengths, got {shorten(repr(value))}",
                at=f"$.inputs.{name}",
                fix=f"inputs: {{{name}: [[1, 2], [3, 4]]}}",
            )


def _near_file(path: Path) -> str | None:
    """A file or folder beside `path` whose name is close to its name."""
    folder = path.parent
    if not folder.is_dir():
        return None
    names = [entry.name for entry in folder.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    return str(folder / near[0]) if near else None


def _check_timings(config: PlanConfig) -> None:
    """A side that is the host is measured, and no timing of yours says more of it."""
    for field, side, timings in (
        ("measured_device", config.device, config.measured_device),
        ("measured_server", config.server, config.measured_server),
    ):
        if timings and side == "host":
            raise ProfileError(
                "that side is the host, whose seconds are measured by splitpoint", at=f"$.{field}", fix="remove it"
            )
