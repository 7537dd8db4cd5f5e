"""How honest the estimate of the recommended point is, and what honesty costs, on recorded landscapes.

    python -m splitpoint.benchmarks.selection [--divisions 500] [LANDSCAPE.npz ...]

A landscape (benchmarks/recorded.py) is divided at random into n inputs that are searched and the others, which say the
truth. A rule estimates what every candidate loses on the searched inputs; recommended is the candidate of fewest bytes
that keeps the limit of one point. Columns, over the divisions:

- bias: truth less estimate, mean, in points;
- over: share of divisions whose truth is above the limit by more than half a point;
- coverage: share whose 95 % interval holds the truth, whose own standard error is allowed for; half: its median half;
- bytes/oracle: mean ratio to the cheapest candidate whose loss on all inputs keeps the limit;
- bytes/full: mean ratio to what the same rule recommends when it has searched all inputs.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.recorded import Recorded, load
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.quality.drop_curve import SHARP, estimate_drops, smooth_losses

__all__ = ["METHODS", "Method", "simulate"]

LIMIT = 0.01
OVER = 0.005
CONFIDENT = 1.96  # as `--confident` binds the upper end of a 95 % interval
SEARCHED = (200, 500, 1000)  # those that leave enough inputs for the truth
LEAST_TRUTH = 250  # inputs

Floats = NDArray[np.float64]
Rule = Callable[[Recorded, NDArray[np.intp]], tuple[Floats, Floats]]  # searched inputs -> losses, standard errors


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A rule, and how many standard errors are added before the limit is applied."""

    rule: Rule
    errors: float = 0.0


def raw_counts(landscape: Recorded, searched: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """What was counted."""
    lost = landscape.lost[:, searched]
    return lost.mean(axis=1), lost.std(axis=1, ddof=1) / np.sqrt(len(searched))


def curve_over_divergence(landscape: Recorded, searched: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """The same from counts alone, without margins."""
    lost = landscape.lost[:, searched]
    found = estimate_drops(lost, lost, landscape.divergence[:, searched])
    return found.drop, found.error


def estimate(landscape: Recorded, searched: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """What `splitpoint plan` does (docs/notes/selection.md)."""
    smooth = smooth_losses(landscape.margin[:, searched], landscape.margin_unsplit[searched])
    found = estimate_drops(landscape.lost[:, searched], smooth, landscape.divergence[:, searched])
    return found.drop, found.error


METHODS: Mapping[str, Method] = {
    "raw counts": Method(rule=raw_counts),
    "curve over divergence": Method(rule=curve_over_divergence),
    "plan": Method(rule=estimate),
    "plan --confident": Method(rule=estimate, errors=CONFIDENT),
}


def simulate(landscape: Recorded, method: Method, n: int, *, divisions: int, seed: int = 0) -> dict[str, float]:
    """One row of the table: the columns of the module's first lines."""
    rng = np.random.default_rng(seed)
    inputs = len(landscape.right_unsplit)
    order = np.argsort(landscape.payload_bytes, kind="stable")
    oracle = _cheapest(landscape.lost.mean(axis=1), order)
    everything = np.arange(inputs)
    full = _cheapest(_bound(method, *method.rule(landscape, everything)), order)
    rows = []
    for _ in range(divisions):
        drawn = rng.permutation(inputs)
        drop, error = method.rule(landscape, np.sort(drawn[:n]))
        chosen = _cheapest(_bound(method, drop, error), order)
        lost = landscape.lost[chosen, drawn[n:]]
        truth, truth_error = lost.mean(), lost.std(ddof=1) / np.sqrt(len(lost))
        size = landscape.payload_bytes[chosen]
        rows.append(
            (
                truth - drop[chosen],
                truth > LIMIT + OVER,
                abs(truth - drop[chosen]) <= 1.96 * np.hypot(error[chosen], truth_error),
                1.96 * error[chosen],
                size / landscape.payload_bytes[oracle],
                size / landscape.payload_bytes[full],
            )
        )
    table = np.array(rows, np.float64)
    return {
        "bias_points": round(100 * table[:, 0].mean(), 3),
        "over_limit_share": round(table[:, 1].mean(), 3),
        "coverage": round(table[:, 2].mean(), 3),
        "half_width": round(100 * float(np.median(table[:, 3])), 3),
        "bytes_over_oracle": round(table[:, 4].mean(), 3),
        "bytes_over_full_fit": round(table[:, 5].mean(), 3),
    }


def _bound(method: Method, drop: Floats, error: Floats) -> Floats:
    return drop + method.errors * error


def _cheapest(losses: Floats, order: NDArray[np.intp]) -> int:
    """The candidate of fewest bytes that keeps the limit; the one that loses least where none does."""
    kept = losses[order] <= LIMIT
    return int(order[np.argmax(kept)]) if kept.any() else int(np.argmin(losses))


def _rows(paths: Sequence[Path], divisions: int) -> list[dict[str, Any]]:
    rows = []
    for path in paths:
        landscape = load(path)
        inputs = len(landscape.right_unsplit)
        for n in SEARCHED:
            if inputs - n < LEAST_TRUTH:
                continue
            for name, method in METHODS.items():
                row = {"landscape": path.stem.removeprefix("landscape-"), "method": name, "n": n}
                rows.append(row | simulate(landscape, method, n, divisions=divisions))
                print(_line(rows[-1]), flush=True)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    figures = (
        f"{row['bias_points']:+6.2f} {100 * row['over_limit_share']:5.1f} % {100 * row['coverage']:6.1f} %"
        f" {row['half_width']:6.2f} {row['bytes_over_oracle']:7.2f} {row['bytes_over_full_fit']:7.2f}"
    )
    return f"{row['landscape']:20} {row['n']:5} {row['method']:22} {figures}"


def main() -> int:
    """Print the table and store it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscapes", nargs="*", type=Path, help="packed landscapes [default: those of results/]")
    parser.add_argument("--divisions", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULTS / "selection.json")
    options = parser.parse_args()
    paths = options.landscapes or sorted(RESULTS.glob("landscape-*.npz"))
    print(f"{'landscape':20} {'n':>5} {'method':22}   bias    over coverage   half b/oracle  b/full")
    rows = _rows(paths, options.divisions)
    fixed = {"limit": LIMIT, "divisions": options.divisions, "smoothing": SHARP}
    store(options.out, fixed | {"rows": rows}, command="selection")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
