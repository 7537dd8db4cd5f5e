"""The command line: plan, profile, calibrate, cuts, show and the rest. Prints and exits; decides nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from splitpoint import __version__
from splitpoint.planner.commands import on_models, on_plans
from splitpoint.planner.commands.base import print_document, stages, with_messages
from splitpoint.planner.output import options
from splitpoint.planner.output.ending import OK, UNMET, note_written, print_note, run_to_end
from splitpoint.planner.output.streams import occupy_descriptors
from splitpoint.planner.setup import flags
from splitpoint.planner.setup.asked import asked_config, asked_needs

__all__ = ["app", "entry", "main"]


def __dir__() -> list[str]:
    return __all__


COLUMNS = (
    "Columns: MACs: share that the device computes. payload: bytes sent with each request. + once: bytes of the"
    " codec's tables and weights, stored once. lost %: points of quality, estimated from all measured points, ± half of"
    " the 95 % interval. knee: the best compromise, farthest from the line between the extremes of the front. late:"
    " over the deadline; lossy: outside the limit of quality; never: its message cannot be sent."
)
app = typer.Typer(
    name="splitpoint",
    help="Plan where to cut a neural network between a device and a server, and how to code what crosses.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _command(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A function as the command `name`, with the options that every command has."""
    return lambda function: app.command(name, **settings)(with_messages(function))


@_command("plan", epilog=COLUMNS)
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
    measured_device: options.MeasuredDevice = None,
    measured_server: options.MeasuredServer = None,
    confident: options.Confident = False,
    deadline_share: options.DeadlineShare = None,
    server_load: options.ServerLoad = None,
    server_devices: options.ServerDevices = None,
    device_rate: options.DeviceRate = None,
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
        measured_device=measured_device,
        measured_server=measured_server,
        link=link,
        server_load=server_load,
        server_devices=server_devices,
        device_rate=device_rate,
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
    from splitpoint.planner.output.terminal.console import consoles
    from splitpoint.planner.output.terminal.plan import plan_view
    from splitpoint.planner.setup.trust import check_trusted
    from splitpoint.planner.study.storage import Place

    check_trusted(target, config, trust_code=trust_code)
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
        progress=stages(),
        written=note_written,
    )
    print_document(done.document, lambda shown: plan_view(shown, width=consoles()[0].width), as_json=as_json)
    print_note(done.page)
    if done.failure is not None:
        raise done.failure
    raise typer.Exit(OK if done.meets else UNMET)


@_command("train")
def train_command(
    target: Annotated[str, typer.Argument(help="A configuration (.yaml) with train:.")],
    train_minutes: options.TrainMinutes = None,
    profile: options.StoredProfile = None,
    save: Annotated[
        Path | None, typer.Option(help="A new folder for the trained codecs, for train.from on other machines.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what earlier runs trained.")] = False,
    trust_code: options.TrustCode = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Train ahead what splitpoint plan would train for a configuration; exit 1 when minutes were not enough."""
    from splitpoint.planner.flow import train
    from splitpoint.planner.output.terminal.train import train_view
    from splitpoint.planner.output.train_run import train_ahead
    from splitpoint.planner.setup.trust import check_trusted

    config = asked_config(target, threads=threads, train_minutes=train_minutes)
    check_trusted(target, config, trust_code=trust_code)
    document = train_ahead(target, config, profile=profile, fresh=fresh, train=train, progress=stages(), save=save)
    print_document(document, train_view, as_json=as_json)
    raise typer.Exit(OK if document.complete else UNMET)


@_command("profile")
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
    provider: options.ProviderName = None,
    provider_option: options.ProviderOption = None,
    cpu_fallback: options.CpuFallback = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Measure a model on this host: MACs, parameters, bytes and seconds of each operator; with --data its tensors."""
    from splitpoint.planner.output.profile_run import profile_model
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
        provider=flags.parse_provider(provider, provider_option, cpu_fallback=cpu_fallback),
        progress=stages(),
        written=note_written,
    )
    print_document(document, lambda shown: profile_view(shown, detail=cut is not None), as_json=as_json)


@_command("calibrate")
def calibrate_command(
    out: Annotated[Path, typer.Option(help="Write the device profile to this file.")],
    name: Annotated[str | None, typer.Option(help="Its name. [default: the file's]")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--from", help="Measure nothing: fit to a CSV file with columns network and ms (or s)."),
    ] = None,
    runtime: Annotated[str, typer.Option(help="With --from: what ran the networks.")] = "onnxruntime",
    unit: Annotated[Literal["cpu", "gpu"], typer.Option(help="With --from: which devices it is like.")] = "cpu",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option(help="With --from: of weights and activations.")
    ] = "fp32",
    provider: options.ProviderName = None,
    provider_option: options.ProviderOption = None,
    cpu_fallback: options.CpuFallback = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Measure this machine as a device profile, in about a minute; or fit one to latencies that you have (--from)."""
    from splitpoint.planner.output.profile_run import calibrate_machine, fit_to_latencies
    from splitpoint.planner.output.terminal.calibrate import calibrate_view
    from splitpoint.profiles.machine.device import Runtime

    if table is None:
        if (runtime, unit, precision) != ("onnxruntime", "cpu", "fp32"):
            raise typer.BadParameter("what is measured here says it itself: give --from FILE.csv", param_hint="--from")
        chosen = flags.parse_provider(provider, provider_option, cpu_fallback=cpu_fallback)
        document = calibrate_machine(
            out, name=name, threads=threads, provider=chosen, progress=stages(), written=note_written
        )
    else:
        if provider is not None:
            raise typer.BadParameter("--provider measures here, and --from does not", param_hint="--provider")
        if threads is None:
            raise typer.BadParameter("with how many was FILE.csv measured? Give --threads", param_hint="--threads")
        document = fit_to_latencies(
            table,
            out,
            name=name,
            runtime=Runtime(name=runtime, provider=unit.upper(), threads=threads, precision=precision),
            unit=unit,
            progress=stages(),
            written=note_written,
        )
    print_document(document, calibrate_view, as_json=as_json)
    raise typer.Exit(OK if document.usable else UNMET)


@_command("cache")
def cache_command(
    verify: Annotated[bool, typer.Option("--verify", help="Read every entry, remove what is damaged.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove every entry, and checkpoints of trainings.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what earlier runs measured and kept (in SPLITPOINT_CACHE, or the user's cache folder)."""
    from splitpoint.planner.output.documents.cache import cache_document
    from splitpoint.planner.output.terminal.listings import cache_view
    from splitpoint.planner.store.store import default_store

    print_document(document := cache_document(default_store(), verify=verify, clear=clear), cache_view, as_json=as_json)
    raise typer.Exit(UNMET if document.damaged else OK)


@_command("work")
def work_command(
    study: Annotated[str, typer.Argument(help="Name of the study: splitpoint plan --storage prints it.")],
    storage: Annotated[str, typer.Option(help="Where the plan keeps it: a journal's file, or postgresql://...")],
    artifacts: options.ArtifactPlace = None,
    trust_code: options.TrustCode = False,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Measure candidates of a study that splitpoint plan --storage shares, on this machine, too."""
    from splitpoint.planner.output.work_run import join_and_work, work_text

    document = join_and_work(
        study, storage=storage, artifacts=artifacts, trust_code=trust_code, threads=threads, progress=stages()
    )
    print_document(document, work_text, as_json=as_json)


for _name, _function, _epilog in (
    ("cuts", on_models.cuts_command, None),
    ("init", on_models.init_command, None),
    ("show", on_plans.show_command, COLUMNS),
    ("what-if", on_plans.what_if_command, COLUMNS),
    ("map", on_plans.map_command, None),
    ("compare", on_plans.compare_command, None),
    ("report", on_plans.report_command, None),
    ("export", on_plans.export_command, COLUMNS),
    ("verify", on_plans.verify_command, None),
):
    _command(_name, epilog=_epilog)(_function)


@_command("profiles")
def profiles_command(
    name: Annotated[str | None, typer.Argument(help="Show every figure of this one, by name or path.")] = None,
    kind: options.KindName = None,
    search: options.Search = None,
    as_json: options.Json = False,
) -> None:
    """List the device, server and link profiles that are shipped, or show the figures of one with their sources."""
    from splitpoint.planner.output.documents.listings import figures_document, profiles_document
    from splitpoint.planner.output.terminal.listings import profiles_view

    if name is not None and (kind, search) != (None, None):
        raise typer.BadParameter("a list is searched, not one profile: NAME, or --kind and --search", param_hint="NAME")
    document = profiles_document(kind, search) if name is None else figures_document(name)
    print_document(document, profiles_view, as_json=as_json)


@_command("codecs")
def codecs_command(as_json: options.Json = False) -> None:
    """List the codecs of tensors: what each needs, its rates, and the paper that it follows."""
    from splitpoint.planner.output.documents.listings import codecs_document
    from splitpoint.planner.output.terminal.listings import codecs_view

    print_document(codecs_document(), codecs_view, as_json=as_json)


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


if __name__ == "__main__":
    entry()
