"""What proposes the candidate that is measured next: the flat space of a table, and Optuna's samplers over it."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from splitpoint.planner.setup.config import SEEDS, SamplerName
from splitpoint.planner.values.candidate import Candidate
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler

__all__ = ["Space", "make_sampler", "require_optuna"]


def __dir__() -> list[str]:
    return __all__


INSTALL = "python -m pip install 'splitpoint[plan]'"
LEAST_RANDOM = 10  # trials before a sampler fits anything
POPULATION = (10, 50)  # of NSGA-II: at least, at most
POPULATION_SHARE = 0.25  # of the evaluations, between these
STRIDE = 1_000_003  # between the seeds of two searches: a prime above any number of trials


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """The candidates of a table as a static flat space, and those to measure before a sampler is asked.

    `options[cut][codec]` lists the candidates of that place in ascending rate (empty where the codec cannot code it).
    """

    options: Sequence[Sequence[Sequence[Candidate]]]
    first: Sequence[Candidate]

    @functools.cached_property
    def params(self) -> dict[Candidate, dict[str, Any]]:
        """Optuna's parameters of every candidate."""
        return {
            candidate: {"cut": cut, "codec": str(codec), "rate": (index + 0.5) / len(rates)}
            for cut, codecs in enumerate(self.options)
            for codec, rates in enumerate(codecs)
            for index, candidate in enumerate(rates)
        }

    def suggest(self, trial: Trial) -> Candidate | None:
        """The candidate that `trial` proposes; None for a place that the codec cannot code."""
        options = self.options
        codecs = [str(index) for index in range(max(len(row) for row in options))]
        cut = trial.suggest_int("cut", 0, len(options) - 1) if len(options) > 1 else 0
        codec = int(trial.suggest_categorical("codec", codecs))
        rate = trial.suggest_float("rate", 0.0, 1.0)
        rates = options[cut][codec]
        return rates[min(len(rates) - 1, int(rate * len(rates)))] if rates else None

    def nearest(self, params: Mapping[str, Any], taken: Collection[Candidate]) -> Candidate | None:
        """The candidate nearest to `params` that is not `taken`: of the same place, else codec, else any; or None."""

        def distance(candidate: Candidate) -> tuple[bool, bool, float, float]:
            other = self.params[candidate]
            cuts, rates = (abs(other[name] - params.get(name, 0)) for name in ("cut", "rate"))
            return other["codec"] != params["codec"], cuts > 0, cuts, rates  # of the same codec, and there the same cut

        return min((candidate for candidate in self.params if candidate not in taken), key=distance, default=None)


def require_optuna() -> None:
    """Raise `ProfileError` with the pip command when optuna is missing: better before the first stage than after."""
    if importlib.util.find_spec("optuna") is None:
        raise ProfileError("planning needs optuna, which is not installed", fix=INSTALL)


def make_sampler(name: SamplerName, *, seed: int, asked: int, first: int, evaluations: int) -> BaseSampler:
    """The sampler of that name for the ask number `asked` of a study.

    Every ask has a sampler of its own, whose seed follows from both numbers: so the proposals are a function of what
    was told, and a study that was interrupted goes on as it would have. `first` is how many candidates are measured
    before a sampler is asked; they count as random trials.
    """
    from optuna import samplers

    seed = (STRIDE * seed + asked) % SEEDS
    random = max(LEAST_RANDOM, first)
    if name == "nsga2":
        least, most = POPULATION
        size = min(most, max(least, round(POPULATION_SHARE * evaluations)))
        return samplers.NSGAIISampler(seed=seed, population_size=size)
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=random)
    if name in ("random", "exhaustive"):  # the latter's candidates are all among the first
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=random)
