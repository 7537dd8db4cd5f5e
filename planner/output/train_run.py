"""``splitpoint train``: what a plan would train, trained ahead, as one document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from splitpoint.planner.output.documents.train import TrainDocument, train_document
from splitpoint.planner.output.ending import note_kept
from splitpoint.planner.profiling.model_profile import check_profile
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.loading import default_threads, load_problem
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import default_store
from splitpoint.planner.study.trainings import Trainings
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.errors import ProfileError

__all__ = ["train_ahead"]


def __dir__() -> list[str]:
    return __all__


def train_ahead(
    target: str,
    config: PlanConfig,
    *,
    profile: Path | None,
    fresh: bool,
    train: Callable[..., Trainings],
    progress: Progress,
    save: Path | None = None,
) -> TrainDocument:
    """What `train` (`planner.flow`) gives for `config`, the file `target`; `profile` is a stored one.

    Trained codecs are written to the new folder `save`, too.
    Raises `ProfileError`, also where the configuration trains nothing, or nothing of it can be trained.
    """
    if config.train is None:
        raise ProfileError(
            "this configuration trains nothing",
            at=f"{target}: $.train",
            fix="add train: {source: DIR, minutes: 10}; DIR has the inputs to train on (docs/configuration.md)",
        )
    results = results_here(default_store(), threads=config.threads or default_threads(), fresh=fresh)
    if profile is not None:
        check_profile(profile)
    problem = load_problem(config, results=results)
    note_kept("what was trained is kept, and the same command goes on")
    done = train(problem, stored_profile=profile, progress=progress, store=results.store, fresh=fresh, save=save)
    reasons = [f"{row.name} {row.where}: {row.reason}" for row in done.rows if row.state == "refused"]
    if len(reasons) == len(done.rows):
        raise ProfileError(
            "nothing can be trained: " + ("; ".join(reasons) or "no codec and no pruned network is trained"),
            at=f"{target}: $.train",
            fix="$.search.codecs: [dynamic-switch], or prune: {method: taylor}; splitpoint codecs says what is trained",
        )
    return train_document(done, target, minutes=config.train.minutes, budget=config.train.budget)
