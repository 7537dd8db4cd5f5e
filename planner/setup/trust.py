"""Code that a configuration names, and whether it may run: a configuration of others comes with a plan directory.

A plan directory may be a stranger's, and its config.yaml can name files beside it. A configuration in a folder of the
user's own is the user's word, like a flag.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from splitpoint.planner.deploy.file_names import PLAN
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.setup.config import PlanConfig, read_config
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import parse_yaml_mapping
from splitpoint.profiles.network.torch_model import is_torch_spec

__all__ = ["check_trusted", "code_of_config", "code_of_task", "comes_with_plan"]


def __dir__() -> list[str]:
    return __all__


def check_trusted(target: str, config: PlanConfig, *, trust_code: bool) -> None:
    """Raise `ProfileError` where `config` would run code that only a file which came with a plan asks for.

    `target` is what the user named, `config` what became of it with the user's flags: code that a flag names, in place
    of the file's, is the user's.
    """
    path = Path(target)
    if trust_code or not target.endswith((".yaml", ".yml")) or not comes_with_plan(path):
        return
    foreign = {code for _, code in code_of_config(read_config(path))}
    for field, code in code_of_config(config):
        if code in foreign:
            raise ProfileError(
                f"{field} runs code, {code}, and this configuration came with a plan",
                at=target,
                fix="read that code, then add --trust-code; or copy the configuration to a folder of your own",
            )


def code_of_config(config: PlanConfig) -> tuple[tuple[str, str], ...]:
    """Every field of `config` that makes `splitpoint plan` import code, and the code that it names, in order."""
    return tuple(_code_of_config(config))


def code_of_task(task: Task) -> tuple[str, ...]:
    """What a task runs or reads beside the plan: a metric, a decoder of the user's own, a file of anchors."""
    decoder = task.decode if ":" in task.decode else ""
    return tuple(text for text in (task.metric, decoder, task.anchors) if text)


def comes_with_plan(path: Path) -> bool:
    """Whether the file lies in a plan directory or below one; a plan.yaml that cannot be read counts as one.

    Another file named plan.yaml, such as a configuration, does not, nor does the file itself.
    """
    folders = {folder for place in (path.absolute(), path.resolve()) for folder in place.parents}
    plans = [folder / PLAN for folder in folders]
    return any(_is_plan(plan) for plan in plans if plan.exists() and plan.resolve() != path.resolve())


def _code_of_config(config: PlanConfig) -> Iterator[tuple[str, str]]:
    for field, model in (
        ("model", config.model),
        *((f"models[{i}].model", other.model) for i, other in enumerate(config.models)),
    ):
        if is_torch_spec(model):
            yield field, model
    sources = [("data.source", config.data.source)]
    training = None if config.train is None else config.train.source
    sources += [] if training is None else [("train.source", training)]
    for field, source in sources:
        if ":" in source and not Path(source).exists():  # as `planner.samples.readers.load_data`
            yield field, source
    if config.metric is not None:
        yield "metric", config.metric
    if isinstance(config.task, Task):
        if config.task.metric:
            yield "task.metric", config.task.metric
        if ":" in config.task.decode:
            yield "task.decode", config.task.decode


def _is_plan(file: Path) -> bool:
    try:
        fields = parse_yaml_mapping(file)
    except ProfileError:
        return True
    return {"format", "created_by"} <= fields.keys()
