"""What every command has: --quiet and --verbose, progress that follows them, and one document that it prints."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer

from splitpoint.planner.output.escape import json_text, printable_lines
from splitpoint.planner.output.logs import is_quiet, set_quiet, set_verbose
from splitpoint.planner.values.progress import Logged, Progress, Silent

__all__ = ["print_document", "stages", "with_messages"]


def __dir__() -> list[str]:
    return __all__


Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Log each stage on standard error; -vv: every step.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error; errors are still there.")]


def with_messages(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options that say how much is written to standard error, which it does not see."""

    @functools.wraps(command)
    def spoken(*args: Any, verbose: int = 0, quiet: bool = False, **kwargs: Any) -> None:
        set_verbose(verbose)
        set_quiet(quiet)
        command(*args, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in (("verbose", Verbose, 0), ("quiet", Quiet, False))
    ]
    parameters = [*signature.parameters.values(), *added]
    spoken.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    return spoken


def stages() -> Progress:
    """Progress for the stages of a command, on standard error; silent with --quiet."""
    if is_quiet():
        return Logged(Silent())
    from splitpoint.planner.output.terminal.console import StageBars, consoles

    return Logged(StageBars(consoles()[1]))


def print_document(document: msgspec.Struct, view: Callable[[Any], Any], *, as_json: bool) -> None:
    """Write the document to standard output: as JSON, or as `view` shows it with its texts made printable."""
    if as_json:
        sys.stdout.write(json_text(msgspec.to_builtins(document)) + "\n")  # msgspec's own JSON turns NaN into null
        return
    from splitpoint.planner.output.terminal.console import consoles

    consoles()[0].show(view(printable_lines(document)))
