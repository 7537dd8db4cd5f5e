"""The commands that take a plan directory: show, what-if, map, compare, report, export and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from splitpoint.planner.commands.base import print_document, stages
from splitpoint.planner.output import options
from splitpoint.planner.output.ending import OK, UNMET, note_written, print_note
from splitpoint.planner.setup import flags

__all__ = [
    "compare_command",
    "export_command",
    "map_command",
    "report_command",
    "show_command",
    "verify_command",
    "what_if_command",
]


def __dir__() -> list[str]:
    return __all__


def show_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")],
    point: Annotated[int | None, typer.Option(min=1, help="Show this point. [default: the plan's]")] = None,
    notes: Annotated[bool, typer.Option("--notes", help="What was assumed, left out or noticed, in full.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show a plan: its point, what it costs and loses, and the front it was chosen from."""
    from splitpoint.planner.output.documents.show import show_document
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.output.terminal.show import notes_view, show_view

    document = show_document(directory, point)
    width = consoles()[0].width
    print_document(
        document, lambda shown: notes_view(shown) if notes else show_view(shown, width=width), as_json=as_json
    )


@options.with_conditions
def what_if_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")],
    link_rate: Annotated[
        str | None, typer.Option(help="Mean uplink rate, such as 2Mbit/s, or a range: 0.05..100Mbit/s.")
    ] = None,
    snr: Annotated[str | None, typer.Option(help="SNR of a radio link, such as 12dB, or a range: -5..20dB.")] = None,
    as_json: options.Json = False,
    **conditions: Any,
) -> None:
    """Decide again from what a plan measured: another link, device, server or limit. Nothing is measured."""
    from splitpoint.planner.output.asked_again import what_if_of_plan
    from splitpoint.planner.output.terminal.answers.what_if import what_if_view
    from splitpoint.planner.output.terminal.console import consoles

    document = what_if_of_plan(directory, conditions, link_rate=link_rate, snr=snr)
    print_document(document, lambda shown: what_if_view(shown, width=consoles()[0].width), as_json=as_json)
    fits = document.row is not None or any(row.what is not None for row in document.rows)
    raise typer.Exit(OK if fits else UNMET)


@options.with_conditions
def map_command(
    target: Annotated[str, typer.Argument(help="A plan directory, or what splitpoint plan takes.")],
    devices: options.Devices = None,
    speeds: options.Speeds = False,
    link_rates: options.LinkRates = None,
    data: options.Data = None,
    trust_code: options.TrustCode = False,
    as_json: options.Json = False,
    **conditions: Any,
) -> None:
    """Show where splitting pays, for devices against link rates: all on device, send the picture, or which split."""
    from splitpoint.planner.flow import plan as find
    from splitpoint.planner.output.asked_again import MapAxes, map_of_target
    from splitpoint.planner.output.terminal.answers.map import map_view
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.store.store import default_store

    document = map_of_target(
        target,
        conditions,
        MapAxes(devices=devices, speeds=speeds, link_rates=link_rates),
        data=data,
        trust_code=trust_code,
        search=lambda problem: find(problem, progress=stages(), store=default_store()),
    )
    print_document(document, lambda shown: map_view(shown, width=consoles()[0].width), as_json=as_json)


def compare_command(
    first: Annotated[Path, typer.Argument(help="A plan directory.")],
    second: Annotated[Path, typer.Argument(help="Another plan directory.")],
    as_json: options.Json = False,
) -> None:
    """Compare two plans: what each recommends, what that costs and loses, and what was asked differently."""
    from splitpoint.planner.output.documents.answers.compare import compare_document
    from splitpoint.planner.output.terminal.answers.compare import compare_view

    print_document(compare_document(first, second), compare_view, as_json=as_json)


def report_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")], as_json: options.Json = False
) -> None:
    """Write report.html into a plan directory: the plan with charts, in one file that opens without a network."""
    from splitpoint.planner.output.report.document import report_text
    from splitpoint.planner.output.report.writing import write_report
    from splitpoint.planner.output.terminal.figures import command_line

    print_document(write_report(directory), lambda shown: command_line(report_text(shown)), as_json=as_json)


def export_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")],
    point: Annotated[int, typer.Option(min=1, help="Number of the point on the front.")],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    keep: options.Keep = 1,
    trust_code: options.TrustCode = False,
    as_json: options.Json = False,
) -> None:
    """Write another point of the same front as a plan directory, without searching again."""
    from splitpoint.planner.output.documents.show import show_document
    from splitpoint.planner.output.report.writing import add_report
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.output.terminal.show import show_view
    from splitpoint.planner.plandir.placing import claimed, will_be_kept
    from splitpoint.planner.plandir.writing import export_point

    with claimed(out, keep=keep) as place, stages().stage("report", None) as step:
        kept = will_be_kept(place)
        export_point(directory, point, place, trust_code=trust_code, advance=lambda: step(""))
        step(f"wrote {out}")
    note_written("plan", out)
    print_note(None if kept is None else f"the plan that was there is {kept}")
    print_note(add_report(out))
    document = show_document(out, None)
    print_document(document, lambda shown: show_view(shown, width=consoles()[0].width), as_json=as_json)


def verify_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")],
    expect: Annotated[str | None, typer.Option(help="SHA-256 of plan.yaml, as its sender published it.")] = None,
    trust_code: options.TrustCode = False,
    strict_latency: Annotated[
        bool, typer.Option("--strict-latency", help="Fail, not warn, when the latency is off.")
    ] = False,
    provider: options.ProviderName = None,
    provider_option: options.ProviderOption = None,
    cpu_fallback: options.CpuFallback = False,
    as_json: options.Json = False,
) -> None:
    """Re-run a plan from its files alone and compare with what it says; exit 1 when a check is off."""
    from splitpoint.planner.output.documents.verify import verify_document
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.output.terminal.verify import check_line, count_line
    from splitpoint.planner.plandir.verify import verify

    stdout, _ = consoles()
    checks = verify(
        directory,
        expect=expect,
        trust_code=trust_code,
        strict_latency=strict_latency,
        provider=provider,
        provider_options=flags.parse_pairs(provider_option, "--provider-option"),
        cpu_fallback=cpu_fallback,
        step=(lambda check: None) if as_json else (lambda check: stdout.print(check_line(check))),
    )
    document = verify_document(checks)
    print_document(document, lambda shown: count_line(shown.count), as_json=as_json)
    raise typer.Exit(UNMET if document.count.failed else OK)
