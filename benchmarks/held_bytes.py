"""Bytes that hold on pictures that nothing saw: cut, codec and rate chosen by the plan's estimate, judged once.

    python -m splitpoint.benchmarks.held_bytes [--limit 0.01]
    python -m splitpoint.benchmarks.held_bytes --data DIR --work FOLDER [--cuts 5 12 16] [--fitted 2]

EfficientNet-Lite0 on pictures of imagenet500, in five folds. The cheapest candidate that keeps the limit by the
estimate of `splitpoint plan` (docs/notes/selection.md) is chosen on four of them, and what it sends and loses is
counted on the fifth: every picture is counted once. Candidates are those with at most the stated share of the
multiply-adds on the device. `plan` takes the estimate, `plan --confident` the upper end of its 95 % interval.

Without --data the candidates are those of the recorded landscape (benchmarks/landscape.py): all codecs and rates at
eleven cuts, fitted to 50 pictures beside the 450 that are chosen on and judged. It takes half a minute. With --data
codecs are fitted to as many folds as --fitted says and chosen on the rest of the four, at the cuts behind blocks 3, 10
and 14. FOLDER keeps a file for each cut and fold; what is there is not measured again. About ten minutes on one idle
core.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_networks import Network, efficientnet_lite0, imagenet500
from splitpoint.benchmarks.recorded import Recorded, load
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.container import pack
from splitpoint.codecs.contract.protocol import Calibration, Context, FittedCodec
from splitpoint.codecs.npz import npz_bytes
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.quality.drop_curve import estimate_drops, smooth_losses
from splitpoint.planner.quality.intervals import student_quantile, tango
from splitpoint.profiles.files.structs import write_bytes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import export_module

__all__ = [
    "CODECS",
    "FOLDS",
    "Candidates",
    "Choice",
    "Fold",
    "Name",
    "choose",
    "divisions",
    "judge_choices",
    "measure_unit",
    "measured_folds",
    "recorded_folds",
    "summary",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
CODECS = ("kltq-ctx", "kltq-rans")  # the smallest of codecs-curves.json at both of its cuts, by a factor of 2.5
FOLDS = 5
CUTS = (5, 12, 16)  # stages on the device: up to blocks 3, 10 and 14
RATES = range(4, 11)  # steps of 0.83 to 0.3 deviations: coarser ones lose more than a point at all three cuts
SHARES = (25, 63, 87)  # percent of the multiply-adds, rounded to whole ones
RULES: Mapping[str, bool] = {"plan": False, "plan --confident": True}
PLAN = bytes(8)  # the hash's place in the container; its value does not change the length
DECODED = 5  # pictures of a rate whose payloads are decoded; the coder has no loss


class Candidates(NamedTuple):
    """C candidates on the same N pictures."""

    lost: Floats  # (C, N) 1: a right answer is lost, -1: a wrong one became right
    margin: Floats  # (C, N) of the true class
    margin_unsplit: Floats  # (N,)
    divergence: Floats  # (C, N) nat
    payload_bytes: Floats  # (C, N)


class Fold(NamedTuple):
    """The same candidates on the pictures that they are chosen on, and on those that judge the choice."""

    seen: Candidates
    unseen: Candidates


class Name(NamedTuple):
    """A candidate."""

    cut: str
    share: float  # percent of the multiply-adds before the cut
    codec: str
    rate: str


class Choice(NamedTuple):
    """The chosen candidate, and what the tool prints of it: shares of right answers lost."""

    place: int
    drop: float
    low: float
    high: float
    kept: bool  # whether it keeps the limit by its rule; otherwise it is the one that loses least


def divisions(count: int, fitted: int = 2) -> Iterator[tuple[Array, Array, Array]]:
    """(fit, choose, report) indices of each fold: `fitted` parts of four, the others, and the fifth."""
    parts = np.array_split(np.random.default_rng(0).permutation(count), FOLDS)
    for i in range(FOLDS):
        others = [parts[(i + 1 + j) % FOLDS] for j in range(FOLDS - 1)]
        yield np.concatenate(others[:fitted]), np.concatenate(others[fitted:]), parts[i]


def choose(seen: Candidates, usable: NDArray[np.bool_], *, limit: float, confident: bool) -> Choice:
    """The usable (C,) candidate of fewest bytes that keeps the limit, estimated from all candidates together."""
    smooth = smooth_losses(seen.margin, seen.margin_unsplit)
    found = estimate_drops(seen.lost, smooth, seen.divergence)
    half = student_quantile(seen.lost.shape[1] - 1) * found.error
    bound = np.where(usable, found.drop + half if confident else found.drop, np.inf)
    kept = bound <= limit
    size = np.where(kept, seen.payload_bytes.mean(axis=1), np.inf)
    i = int(np.argmin(size)) if kept.any() else int(np.argmin(bound))
    drop, half_width = float(found.drop[i]), float(half[i])
    return Choice(i, drop, drop - half_width, drop + half_width, bool(kept[i]))


def summary(choices: Sequence[Choice], lost: Floats, payload_bytes: Floats) -> dict[str, Any]:
    """What was counted on N pictures that the choices did not see, and the mean of what the tool printed."""
    down, up = int((lost > 0).sum()), int((lost < 0).sum())
    interval = tango(down, up, len(lost))
    points = {"lost": lost.mean(), "lost_low": interval.low, "lost_high": interval.high}
    printed = np.mean([(c.drop, c.low, c.high) for c in choices], axis=0)
    points |= dict(zip(("printed", "printed_low", "printed_high"), printed, strict=True))
    return {
        "payload_bytes": round(float(payload_bytes.mean())),
        **{f"{name}_points": round(100 * float(value), 2) for name, value in points.items()},
        "kept_in_folds": sum(choice.kept for choice in choices),
    }


def measure_unit(
    network: Network,
    cut: int,
    rates: Sequence[int],
    fold: int,
    activations: Array,
    logits: Array,
    truth: Array,
    *,
    fitted: int = 2,
) -> Array:
    """(rates, pictures, 3 + codecs) of one cut and fold: answer, margin, divergence, bytes of each codec.

    `logits` are the unsplit network's, `fitted` the parts of `divisions`. Pictures of the fit have NaN.
    """
    fit, chosen_on, held_out = list(divisions(len(truth), fitted))[fold]
    others = np.concatenate([chosen_on, held_out])
    context = Context(gradients=network.gradients(activations[fit], cut), run=_run_graph)
    calibration = [Calibration(activations=activations[fit], context=context)]
    by_codec = [REGISTRY[name].fit(calibration, rates)[0] for name in CODECS]
    kept = np.full((len(rates), len(truth), 3 + len(CODECS)), np.nan)
    for row, rate, *codecs in zip(kept, rates, *by_codec, strict=True):
        if len({one.transform_key for one in codecs}) != 1:
            raise RuntimeError(f"{' and '.join(CODECS)} have other symbols")
        arrived, sizes = _send(codecs, rate, activations[others])
        answers = network.forward(arrived, cut, len(network.stages))
        row[others] = np.column_stack([*_judge(answers, logits[others], truth[others]), *sizes])
    return kept


def _run_graph(model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    return open_session(model, threads=1).run(feeds)


def _send(fitted: Sequence[FittedCodec], rate: int, x: Array) -> tuple[Array, list[Array]]:
    """Tensors as they arrive, and bytes of each codec's containers."""
    graphs = (fitted[0].encoder, fitted[0].decoder)
    encoder, decoder = (open_session(graph, threads=1) for graph in graphs if graph is not None)
    arrived, sizes = [], np.zeros((len(fitted), len(x)))
    for number, one in enumerate(x):
        symbols = encoder.run({"x": one[None]})
        for place, codec in enumerate(fitted):
            payload = codec.coder.encode(symbols)
            sizes[place, number] = len(pack([payload], codec_id=CODEC_IDS[codec.codec], rate=rate, plan_hash=PLAN))
            if number < DECODED and any((symbols[n] != t).any() for n, t in codec.coder.decode(payload).items()):
                raise RuntimeError(f"{codec.codec} {codec.rate_label}: symbols do not come back")
        arrived.append(decoder.run(symbols)["y"][0])
    return np.stack(arrived), list(sizes)


def _judge(answers: Array, exact: Array, truth: Array) -> tuple[Array, Array, Array]:
    """(N,) answers, margins of the true class, and divergences in nat."""
    p, q = _log_softmax(exact), _log_softmax(answers)
    return answers.argmax(axis=1), margins(answers, truth), (np.exp(p) * (p - q)).sum(axis=1)


def margins(answers: Array, truth: Array) -> Floats:
    """(N,): the score of the true class above the best other."""
    own = np.take_along_axis(answers, truth[:, None], axis=1)
    others = answers.astype(np.float64)
    np.put_along_axis(others, truth[:, None], -np.inf, axis=1)
    return np.asarray(own[:, 0] - others.max(axis=1))


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def shares_of_multiply_adds(network: Network, x: Array, cuts: Sequence[int]) -> list[float]:
    """Percent of the convolutions' and linear layers' multiply-adds before each cut, as fvcore counts them."""
    from fvcore.nn import FlopCountAnalysis
    from torch import from_numpy, nn

    def macs(stages: Sequence[nn.Module], at: Array) -> float:
        count = FlopCountAnalysis(nn.Sequential(*stages), from_numpy(at)).unsupported_ops_warnings(False)
        return float(sum(n for op, n in count.by_operator().items() if op in ("conv", "linear")))

    whole = macs(network.stages, x[:1])
    return [100 * macs(network.stages[:cut], x[:1]) / whole for cut in cuts]


def judge_choices(folds: Sequence[Fold], names: Sequence[Name], *, limit: float) -> list[dict[str, Any]]:
    """One row a share of the multiply-adds and rule; `names` are those of the candidates of every fold."""
    made = []
    for share in SHARES:
        usable = np.array([round(name.share) <= share for name in names])
        if not usable.any():
            continue
        for rule, confident in RULES.items():
            choices, lost, sizes = [], [], []
            for fold in folds:
                choices.append(choose(fold.seen, usable, limit=limit, confident=confident))
                lost.append(fold.unseen.lost[choices[-1].place])
                sizes.append(fold.unseen.payload_bytes[choices[-1].place])
            figures = summary(choices, np.concatenate(lost), np.concatenate(sizes))
            picks = [names[choice.place] for choice in choices]
            chosen = [f"{pick.cut} ({pick.share:.1f} %), {pick.codec} {pick.rate}" for pick in picks]
            made.append({"share_at_most": share, "rule": rule, **figures, "chosen": chosen})
    return made


def recorded_folds(landscape: Recorded) -> list[Fold]:
    """A landscape's inputs in five parts: each is judged by the choice on the four others."""
    count = len(landscape.right_unsplit)
    sizes = np.repeat(landscape.payload_bytes[:, None], count, axis=1)
    everything = Candidates(landscape.lost, landscape.margin, landscape.margin_unsplit, landscape.divergence, sizes)
    parts = np.array_split(np.random.default_rng(0).permutation(count), FOLDS)
    return [Fold(_of(everything, np.setdiff1d(np.arange(count), part)), _of(everything, part)) for part in parts]


def measured_folds(units: Sequence[Sequence[Array]], logits: Array, truth: Array, fitted: int = 2) -> list[Fold]:
    """What `measure_unit` gave, by cut and fold, beside the unsplit network's `logits`."""
    right, unsplit = logits.argmax(axis=1) == truth, margins(logits, truth)
    made = []
    for fold, (_, chosen_on, held_out) in enumerate(divisions(len(truth), fitted)):
        table = _table([by_fold[fold] for by_fold in units], right, unsplit, truth)
        made.append(Fold(_of(table, chosen_on), _of(table, held_out)))
    return made


def _table(cuts: Sequence[Array], right: Array, unsplit: Array, truth: Array) -> Candidates:
    """All candidates of a fold: by cut, then codec, then rate."""
    together = [np.concatenate([unit[..., [0, 1, 2, 3 + i]] for i in range(len(CODECS))]) for unit in cuts]
    answers, margin, divergence, sizes = np.moveaxis(np.concatenate(together), 2, 0)
    return Candidates(right - (answers == truth).astype(np.float64), margin, unsplit, divergence, sizes)


def _of(table: Candidates, pictures: Array) -> Candidates:
    return Candidates(*(part[..., pictures] for part in table))


def main() -> None:
    """Look up what was recorded, or measure what is missing; then choose and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with imagenet500 [default: the recorded landscape]")
    parser.add_argument("--work", type=Path, help="with --data: folder of what was measured")
    parser.add_argument("--limit", type=float, default=0.01, help="share of right answers lost [default: 0.01]")
    parser.add_argument("--cuts", type=int, nargs="*", default=CUTS, help="with --data: stages on the device")
    parser.add_argument("--fitted", type=int, choices=(1, 2, 3), default=2, help="with --data: folds to fit to")
    parser.add_argument("--out", type=Path, help="JSON to write [default: held-bytes*.json of results/]")
    options = parser.parse_args()
    network = efficientnet_lite0()
    if options.data is None:
        folds, names = _recorded(network)
        name, command = "held-bytes.json", "held_bytes"
    elif options.work is None:
        parser.error("--data needs --work")
    else:
        folds, names = _measured(network, options.data, options.work, options.cuts, options.fitted)
        name = "held-bytes-measured.json" if options.fitted == 2 else f"held-bytes-fitted-{options.fitted}.json"
        cuts = " ".join(map(str, options.cuts))
        command = f"held_bytes --data DIR --work DIR --cuts {cuts} --fitted {options.fitted}"
    table = judge_choices(folds, names, limit=options.limit)
    print(f"{'MACs':>6} {'rule':17} {'bytes':>6} {'lost on unseen, 95 %':>24} {'printed, 95 %':>24}  chosen")
    for row in table:
        print(_line(row))
    seen, judged = (len(pictures.margin_unsplit) for pictures in folds[0])
    fixed = {"network": network.name, "limit": options.limit, "chosen_on": seen, "judged": judged * FOLDS}
    store(options.out or RESULTS / name, fixed | {"candidates": len(names), "rows": table}, command=command)


def _recorded(network: Network) -> tuple[list[Fold], list[Name]]:
    landscape = load(RESULTS / "landscape-efficientnet-lite0.npz")
    graph = load_graph(export_module(_chain(network), (1, 3, 224, 224)), name="efficientnet-lite0")
    cuts = {cut.name: cut for cut in enumerate_cuts(graph).cuts}
    names = [
        Name(
            _block(network, cuts[cut].layer or cut),
            100 * cuts[cut].head_share,
            codec,
            REGISTRY[codec].rates[rate].label,
        )
        for cut, codec, rate in zip(landscape.cut, landscape.codec, landscape.rate.tolist(), strict=True)
    ]
    return recorded_folds(landscape), names


def _block(network: Network, layer: str) -> str:
    """The name of the stage that a layer is of: "4" is the fifth, "6.bn" in the seventh."""
    stage, dot, inside = layer.partition(".")
    return f"{network.names[int(stage) + 1]}{dot}{inside}" if stage.isdigit() else layer


def _chain(network: Network) -> Any:
    """All stages as one module."""
    from torch import nn

    return nn.Sequential(*network.stages).eval()


def _measured(
    network: Network, data: Path, work: Path, cuts: Sequence[int], fitted: int
) -> tuple[list[Fold], list[Name]]:
    work.mkdir(parents=True, exist_ok=True)
    pictures, truth = imagenet500(data)
    x = np.ascontiguousarray(((pictures.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
    activations = {0: x}
    for last, cut in itertools.pairwise([0, *cuts]):
        activations[cut] = network.forward(activations[last], last, cut)
    logits = network.forward(activations[cuts[-1]], cuts[-1], len(network.stages))
    latest_first = [_units(network, cut, activations[cut], logits, truth, work, fitted) for cut in cuts[::-1]]
    names = [
        Name(network.names[cut], share, codec, REGISTRY[codec].rates[rate].label)
        for cut, share in zip(cuts, shares_of_multiply_adds(network, x, cuts), strict=True)
        for codec in CODECS
        for rate in RATES
    ]
    return measured_folds(latest_first[::-1], logits, truth, fitted), names


def _units(
    network: Network, cut: int, activations: Array, logits: Array, truth: Array, work: Path, fitted: int
) -> list[Array]:
    """The units of all folds, those that are not in `work` measured now."""
    made = []
    for fold in range(FOLDS):
        path = work / f"{cut:02}-{fold}-{fitted}.npz"
        if not path.is_file():
            kept = measure_unit(network, cut, RATES, fold, activations, logits, truth, fitted=fitted)
            write_bytes(path, npz_bytes({"kept": kept}))
            print(f"{network.names[cut]}, fold {fold + 1}", flush=True)
        with np.load(path) as stored:
            made.append(stored["kept"])
    return made


def _line(row: Mapping[str, Any]) -> str:
    lost, printed = (
        f"{row[name + '_points']:+.2f} [{row[name + '_low_points']:+.2f}, {row[name + '_high_points']:+.2f}]"
        for name in ("lost", "printed")
    )
    chosen = "; ".join(dict.fromkeys(row["chosen"]))
    return f"{row['share_at_most']:4} % {row['rule']:17} {row['payload_bytes']:6,} {lost:>24} {printed:>24}  {chosen}"


if __name__ == "__main__":
    main()
