"""A commented configuration for a model, with everything that was guessed marked as a guess."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from splitpoint.planner.deploy.task import TASKS
from splitpoint.planner.setup.checks import check_data_source, check_model_source
from splitpoint.planner.setup.inputs import LoadedInputs, load_inputs, load_source
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml, write_text
from splitpoint.profiles.files.writable import check_file_writable
from splitpoint.profiles.network.torch_model import is_torch_spec

__all__ = ["Draft", "draft_config", "write_draft"]


def __dir__() -> list[str]:
    return __all__


GUESS = "# GUESS"
MISSING = "FILL-IN"  # what `splitpoint plan` refuses by name until it is replaced


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """The text of a configuration."""

    text: str
    missing: tuple[str, ...]  # what has to be filled in before it can be planned

    @property
    def guesses(self) -> int:
        """Number of lines that are marked as guesses."""
        return sum(GUESS in line for line in self.text.splitlines()[1:])


def draft_config(model: str, data: str | None, *, out: Path, shapes: Any = None) -> Draft:
    """The configuration of `model` with `data`, whose paths are relative to the folder of `out`.

    Raises `ProfileError` for a model or data that cannot be read.
    """
    check_model_source(model)
    loaded = None
    if data is not None:
        check_data_source(data)
        loaded = load_inputs(model, data, spec=None, shapes=shapes)
    elif not is_torch_spec(model):
        load_source(model, shapes)  # a damaged or unsuitable network is said now
    missing = (
        () if data is not None else (f"data.source: {MISSING}, a folder of pictures, an .npz, or file.py:function",)
    )
    return Draft(text="\n".join(_lines(model, data, loaded, shapes, out.absolute().parent)) + "\n", missing=missing)


def write_draft(draft: Draft, out: Path, *, force: bool = False) -> None:
    """Write it to `out`; raises `ProfileError` where a file is there (unless `force`) or it cannot be written."""
    if out.exists() and not force:
        raise ProfileError("there is a file already", at=str(out), fix="another --out, or --force")
    check_file_writable(out)
    write_text(out, draft.text)


def _lines(model: str, data: str | None, loaded: LoadedInputs | None, shapes: Any, base: Path) -> list[str]:
    labelled = loaded is not None and any(sample.label is not None for sample in loaded.dataset.samples)
    quality = "max_drop: 1 %" if labelled else "min_agreement: 99 %"
    against = "of the labels' top-1" if labelled else "with the unsplit network's answers (there are no labels)"
    lines = [
        f"# splitpoint plan FILE reads this. Lines with {GUESS.removeprefix('# ')} were guessed: check them.",
        f"model: {_quoted(_relative(model, base))}",
        *([] if shapes is None else [f"shapes: {json.dumps(shapes)}"]),
        "data:",
    ]
    if data is None or loaded is None:
        lines += [f"  source: {MISSING}  # a folder of pictures (DIR/class/*.jpg), an .npz, or file.py:function"]
    else:
        count, labels = len(loaded.dataset), "with labels" if labelled else "without labels"
        lines += [f"  source: {_quoted(_relative(data, base))}  # {count} inputs {labels}"]
        notes = [f"# {line}" for note in loaded.notes for line in note.splitlines()]
        block = [f"  {line}" for line in dump_yaml(loaded.dataset.spec).splitlines()]
        lines += ["", f"input:  {GUESS}: how a sample becomes the network's input", *notes, *block]
    return [
        *lines,
        "",
        f"device: raspberry-pi-4  {GUESS}; splitpoint profiles lists others, host is this machine",
        f"server: cloud-8core  {GUESS}",
        f"link: wifi-5  {GUESS}; NAME@RATE changes its rate: wifi-5@2Mbit/s",
        "",
        "need:  # limits that the answer must meet; remove a line for no limit",
        f"  deadline: 100 ms  {GUESS}",
        f"  {quality}  {GUESS}; {against}",
        "prefer: latency  # what the answer is best in: payload, energy, cost, quality or knee",
        "",
        f"# task: classify  # recognized by itself for a classifier; else one of {', '.join(TASKS)}",
        "search:",
        "  evaluations: 120  # candidates whose quality is measured",
    ]


def _relative(source: str, base: Path) -> str:
    """The file of a source relative to the configuration's folder, with its function; a package stays as it is."""
    name, colon, member = source.partition(":")
    return f"{os.path.relpath(name, base)}{colon}{member}" if Path(name).exists() else source


def _quoted(text: str) -> str:
    """As YAML takes any text."""
    return json.dumps(text, ensure_ascii=False)
