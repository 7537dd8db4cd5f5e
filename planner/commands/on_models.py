"""The commands that take a model and make no plan: cuts and init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splitpoint.planner.commands.base import print_document, stages
from splitpoint.planner.output import options
from splitpoint.planner.output.ending import note_written
from splitpoint.planner.setup import flags

__all__ = ["cuts_command", "init_command"]


def __dir__() -> list[str]:
    return __all__


def cuts_command(
    model: options.ModelArgument,
    refused: Annotated[bool, typer.Option("--refused", help="List the refused places with their reasons.")] = False,
    tensors: Annotated[int, typer.Option(min=1, max=4, help="Also where up to this many tensors cross.")] = 1,
    device: Annotated[str | None, typer.Option(help="Also the seconds of each cut: device by name or path.")] = None,
    server: Annotated[str | None, typer.Option(help="The server of the seconds. [default: host]")] = None,
    link: Annotated[str | None, typer.Option(help="The link of the seconds. [default: wifi-5]")] = None,
    size: options.Size = None,
    constant: options.Constant = None,
    as_json: options.Json = False,
) -> None:
    """List every place where one tensor separates head and tail, or up to --tensors of them; seconds of each, too."""
    from splitpoint.planner.face.models import list_cuts
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.output.terminal.cuts import cuts_view

    document = list_cuts(
        model,
        shapes=flags.parse_shapes(size),
        constants=flags.parse_constants(constant),
        tensors=tensors,
        sides=(device, server, link),
        progress=stages(),
    )
    width = consoles()[0].width
    print_document(document, lambda shown: cuts_view(shown, refused=refused, width=width), as_json=as_json)


def init_command(
    model: options.ModelArgument,
    data: options.Data = None,
    out: Annotated[Path, typer.Option(help="Configuration to write.")] = Path("plan.yaml"),
    size: options.Size = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
) -> None:
    """Write a commented configuration for a model, with every guess marked; splitpoint plan takes it."""
    from splitpoint.planner.face.draft import draft_config, write_draft
    from splitpoint.planner.output.terminal.answers.init import init_view
    from splitpoint.planner.output.terminal.console import consoles

    draft = draft_config(model, data, out=out, shapes=flags.parse_shapes(size))
    write_draft(draft, out, force=force)
    note_written("configuration", out)
    consoles()[0].print(init_view(out, guesses=draft.guesses, missing=draft.missing), soft_wrap=True)
