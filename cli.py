"""The command line: plan, profile, calibrate, cuts, show and the rest. Prints and exits; decides nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from splitpoint import __version__
from splitpoint.planner.output import options
from splitpoint.planner.output.ending import OK, UNMET, note_written, run_to_end
from splitpoint.planner.output.escape import json_text, printable_lines
from splitpoint.planner.output.streams import occupy_descriptors
from splitpoint.planner.setup import flags
from splitpoint.planner.setup.asked import asked_config, asked_needs

__all__ = ["app", "entry", "main"]


def __dir__() -> list[str]:
    return __all__


app = typer.Typer(
    name="splitpoint",
    help="Plan where to cut a neural network between a device and a server, and how to code what crosses.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command("plan")
@options.with_limits
def plan_command(
    target: Annotated[str, typer.Argument(help="A configuration (.yaml), an .onnx file, or file.py:factory.")],
    data: options.Data = None,
    labels: options.Labels = None,
    task: options.TaskName = None,
    decode: options.Decode = None,
    score: options.Score = None,
    output: options.Outputs = None,
    metric: options.OwnMetric = None,
    device: options.DeviceName = None,
    server: options.ServerName = None,
    link: options.LinkName = None,
    size: options.Size = None,
    constant: options.Constant = None,
    preset: options.Preset = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    color: options.Color = None,
    prefer: options.PreferName = None,
    confident: options.Confident = False,
    deadline_share: options.DeadlineShare = None,
    server_load: options.ServerLoad = None,
    evaluations: options.Evaluations = None,
    seed: options.Seed = None,
    sampler: options.Sampler = None,
    train_minutes: options.TrainMinutes = None,
    storage: options.Storage = None,
    study: options.StudyName = None,
    artifacts: options.ArtifactPlace = None,
    profile: options.StoredProfile = None,
    out: Annotated[Path, typer.Option(help="Plan directory to write.")] = Path("plan"),
    keep: options.Keep = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what earlier runs measured.")] = False,
    no_data: Annotated[bool, typer.Option("--no-data", help="Write no whole model and no report inputs.")] = False,
    trust_code: options.TrustCode = False,
    accept_baseline: Annotated[bool, typer.Option("--accept-baseline", help="Plan a network at chance, too.")] = False,
    skip_damaged: options.SkipDamaged = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
    **limits: str | None,
) -> None:
    """Find where to cut, how to code and what it costs; write the plan directory."""
    config = asked_config(
        target,
        data=data,
        labels=labels,
        skip_damaged=skip_damaged,
        task=task,
        decode=decode,
        score=score,
        outputs=output,
        metric=metric,
        device=device,
        server=server,
        link=link,
        server_load=server_load,
        sizes=size,
        constants=constant,
        prefer=prefer,
        needs=asked_needs(limits, confident=confident, deadline_share=deadline_share),
        evaluations=evaluations,
        seed=seed,
        sampler=sampler,
        accept_baseline=accept_baseline,
        threads=threads,
        train_minutes=train_minutes,
    )
    from splitpoint.planner.flow import plan as find
    from splitpoint.planner.output.plan_run import plan_and_write
    from splitpoint.planner.output.terminal.console import StageBars, consoles
    from splitpoint.planner.output.terminal.plan import plan_view
    from splitpoint.planner.setup.trust import check_trusted
    from splitpoint.planner.study.storage import Place

    check_trusted(target, config, trust_code=trust_code)
    stdout, stderr = consoles()
    done = plan_and_write(
        config,
        pictures=flags.parse_pictures(preset, mean=mean, std=std, scale=scale, color=color),
        profile=profile,
        out=out,
        keep=keep,
        keep_data=not no_data,
        fresh=fresh,
        studies=Place(storage=storage, study=study, artifacts=artifacts, fresh=fresh),
        search=find,
        progress=StageBars(stderr),
        written=note_written,
    )
    _print(done.document, lambda shown: plan_view(shown, width=stdout.width), as_json=as_json)
    if done.failure is not None:
        raise done.failure
    raise typer.Exit(OK if done.meets else UNMET)


@app.command("train")
def train_command(
    target: Annotated[str, typer.Argument(help="A configuration (.yaml) with train:.")],
    train_minutes: options.TrainMinutes = None,
    profile: options.StoredProfile = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what earlier runs trained.")] = False,
    trust_code: options.TrustCode = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Train ahead what splitpoint plan would train for a configuration; exit 1 when minutes were not enough."""
    from splitpoint.planner.flow import train
    from splitpoint.planner.output.terminal.console import StageBars, consoles
    from splitpoint.planner.output.terminal.train import train_view
    from splitpoint.planner.output.train_run import train_ahead
    from splitpoint.planner.setup.trust import check_trusted

    config = asked_config(target, threads=threads, train_minutes=train_minutes)
    check_trusted(target, config, trust_code=trust_code)
    bars = StageBars(consoles()[1])
    document = train_ahead(target, config, profile=profile, fresh=fresh, train=train, progress=bars)
    _print(document, train_view, as_json=as_json)
    raise typer.Exit(OK if document.complete else UNMET)


@app.command("profile")
def profile_command(
    model: options.ModelArgument,
    data: Annotated[
        str | None, typer.Option(help="Also measure the tensors at every cut on these inputs (as for plan).")
    ] = None,
    cut: Annotated[
        int | None, typer.Option(min=0, help="With --data: everything about this cut alone (its # in splitpoint cuts).")
    ] = None,
    sqnr: Annotated[float, typer.Option(help="With --data: estimate the bits at this SQNR in dB.")] = 20.0,
    count: Annotated[int, typer.Option("--inputs", min=1, help="With --data: inputs to run at most.")] = 64,
    out: Annotated[Path | None, typer.Option(help="Write the model profile to this file.")] = None,
    size: options.Size = None,
    constant: options.Constant = None,
    skip_damaged: options.SkipDamaged = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Measure a model on this host: MACs, parameters, bytes and seconds of each operator; with --data its tensors."""
    from splitpoint.planner.output.profile_run import profile_model
    from splitpoint.planner.output.terminal.console import StageBars, consoles
    from splitpoint.planner.output.terminal.profile import profile_view
    from splitpoint.planner.setup.loading import default_threads

    if cut is not None and data is None:
        raise typer.BadParameter("a cut's tensors need sample inputs: --data DIR", param_hint="--cut")
    document = profile_model(
        model,
        data,
        cut=cut,
        target_db=sqnr,
        limit=count,
        out=out,
        shapes=flags.parse_shapes(size),
        constants=flags.parse_constants(constant),
        skip_damaged=skip_damaged,
        threads=threads or default_threads(),
        progress=StageBars(consoles()[1]),
        written=note_written,
    )
    _print(document, lambda shown: profile_view(shown, detail=cut is not None), as_json=as_json)


@app.command("calibrate")
def calibrate_command(
    out: Annotated[Path, typer.Option(help="Write the device profile to this file.")],
    name: Annotated[str | None, typer.Option(help="Its name. [default: the file's]")] = None,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Measure this machine as a device profile, in about a minute and with the base install."""
    from splitpoint.planner.output.profile_run import calibrate_machine
    from splitpoint.planner.output.terminal.calibrate import calibrate_view
    from splitpoint.planner.output.terminal.console import StageBars, consoles

    bars = StageBars(consoles()[1])
    document = calibrate_machine(out, name=name, threads=threads, progress=bars, written=note_written)
    _print(document, calibrate_view, as_json=as_json)
    raise typer.Exit(OK if document.usable else UNMET)


@app.command("cuts")
def cuts_command(
    model: options.ModelArgument,
    refused: Annotated[bool, typer.Option("--refused", help="List the refused places with their reasons.")] = False,
    tensors: Annotated[int, typer.Option(min=1, max=4, help="Also where up to this many tensors cross.")] = 1,
    size: options.Size = None,
    constant: options.Constant = None,
    as_json: options.Json = False,
) -> None:
    """List every place where one tensor separates head and tail, or up to --tensors of them."""
    from splitpoint.planner.cuts.enumeration import enumerate_cuts
    from splitpoint.planner.output.documents.cuts import cuts_document
    from splitpoint.planner.output.terminal.cuts import cuts_view
    from splitpoint.planner.setup.checks import check_model_source
    from splitpoint.planner.setup.inputs import load_source

    check_model_source(model)
    graph = load_source(model, flags.parse_shapes(size), constants=flags.parse_constants(constant))
    document = cuts_document(graph, enumerate_cuts(graph, k=tensors))
    _print(document, lambda shown: cuts_view(shown, refused=refused), as_json=as_json)


@app.command("show")
def show_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")],
    point: Annotated[int | None, typer.Option(min=1, help="Show this point. [default: the plan's]")] = None,
    as_json: options.Json = False,
) -> None:
    """Show a plan: its point, what it costs and loses, and the front it was chosen from."""
    from splitpoint.planner.output.documents.show import show_document
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.output.terminal.show import show_view

    document = show_document(directory, point)
    _print(document, lambda shown: show_view(shown, width=consoles()[0].width), as_json=as_json)


@app.command("what-if")
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
    _print(document, lambda shown: what_if_view(shown, width=consoles()[0].width), as_json=as_json)
    fits = document.row is not None or any(row.what is not None for row in document.rows)
    raise typer.Exit(OK if fits else UNMET)


@app.command("map")
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
    from splitpoint.planner.output.terminal.console import StageBars, consoles
    from splitpoint.planner.store.store import default_store

    stdout, stderr = consoles()
    document = map_of_target(
        target,
        conditions,
        MapAxes(devices=devices, speeds=speeds, link_rates=link_rates),
        data=data,
        trust_code=trust_code,
        search=lambda problem: find(problem, progress=StageBars(stderr), store=default_store()),
    )
    _print(document, lambda shown: map_view(shown, width=stdout.width), as_json=as_json)


@app.command("export")
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
    from splitpoint.planner.output.terminal.console import StageBars, consoles
    from splitpoint.planner.output.terminal.show import show_view
    from splitpoint.planner.plandir.placing import claimed
    from splitpoint.planner.plandir.writing import export_point

    with claimed(out, keep=keep) as place, StageBars(consoles()[1]).stage("report", None) as step:
        export_point(directory, point, place, trust_code=trust_code, advance=lambda: step(""))
        step(f"wrote {out}")
    note_written("plan", out)
    document = show_document(out, None)
    _print(document, lambda shown: show_view(shown, width=consoles()[0].width), as_json=as_json)


@app.command("verify")
def verify_command(
    directory: Annotated[Path, typer.Argument(help="A plan directory.")],
    expect: Annotated[str | None, typer.Option(help="SHA-256 of plan.yaml, as its sender published it.")] = None,
    trust_code: options.TrustCode = False,
    strict_latency: Annotated[
        bool, typer.Option("--strict-latency", help="Fail, not warn, when the latency is off.")
    ] = False,
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
        step=(lambda check: None) if as_json else (lambda check: stdout.print(check_line(check))),
    )
    document = verify_document(checks)
    _print(document, lambda shown: count_line(shown.count), as_json=as_json)
    raise typer.Exit(UNMET if document.count.failed else OK)


@app.command("cache")
def cache_command(
    verify: Annotated[bool, typer.Option("--verify", help="Read every entry, remove what is damaged.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove every entry, and checkpoints of trainings.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what earlier runs measured and kept (in SPLITPOINT_CACHE, or the user's cache folder)."""
    from splitpoint.planner.output.documents.cache import cache_document
    from splitpoint.planner.output.terminal.listings import cache_view
    from splitpoint.planner.store.store import default_store

    _print(document := cache_document(default_store(), verify=verify, clear=clear), cache_view, as_json=as_json)
    raise typer.Exit(UNMET if document.damaged else OK)


@app.command("work")
def work_command(
    study: Annotated[str, typer.Argument(help="Name of the study: splitpoint plan --storage prints it.")],
    storage: Annotated[str, typer.Option(help="Where the plan keeps it: a journal's file, or postgresql://...")],
    artifacts: options.ArtifactPlace = None,
    trust_code: options.TrustCode = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Measure candidates of a study that splitpoint plan --storage shares, on this machine, too."""
    from splitpoint.planner.output.terminal.console import StageBars, consoles
    from splitpoint.planner.output.work_run import join_and_work, work_text

    bars = StageBars(consoles()[1])
    document = join_and_work(
        study, storage=storage, artifacts=artifacts, trust_code=trust_code, threads=threads, progress=bars
    )
    _print(document, work_text, as_json=as_json)


@app.command("profiles")
def find_command(kind: options.KindName = None, search: options.Search = None, as_json: options.Json = False) -> None:
    """List the device, server and link profiles that are shipped."""
    from splitpoint.planner.output.documents.listings import profiles_document
    from splitpoint.planner.output.terminal.listings import profiles_view

    _print(profiles_document(kind, search), profiles_view, as_json=as_json)


@app.command("codecs")
def codecs_command(as_json: options.Json = False) -> None:
    """List the codecs of tensors: what each needs, its rates, and the paper that it follows."""
    from splitpoint.planner.output.documents.listings import codecs_document
    from splitpoint.planner.output.terminal.listings import codecs_view

    _print(codecs_document(), codecs_view, as_json=as_json)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        sys.stdout.write(f"splitpoint {__version__}\n")
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code: 0 ok, 1 unmet, 2 usage, 3 bad input, 130 interrupted."""
    return run_to_end(lambda: app(args=None if argv is None else list(argv), prog_name="splitpoint"))


def entry() -> NoReturn:
    """The console script."""
    occupy_descriptors()
    sys.exit(main())


def _print(document: msgspec.Struct, view: Callable[[Any], Any], *, as_json: bool) -> None:
    """Write the document to standard output: as JSON, or as `view` shows it with its texts made printable."""
    if as_json:
        sys.stdout.write(json_text(msgspec.to_builtins(document)) + "\n")  # msgspec's own JSON turns NaN into null
        return
    from splitpoint.planner.output.terminal.console import consoles

    consoles()[0].print(view(printable_lines(document)))


if __name__ == "__main__":
    entry()
