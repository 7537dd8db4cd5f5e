"""Where studies are: a journal file, or a PostgreSQL database that machines share."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from splitpoint.planner.store.store import default_folder
from splitpoint.planner.study.journal import open_journal
from splitpoint.planner.study.plateau import LOGARITHMIC
from splitpoint.planner.study.trials import Trials, begin_again, quiet
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage, RDBStorage

__all__ = ["Opened", "Place", "check_storage", "forget_studies", "join_study", "open_storage", "open_study"]


def __dir__() -> list[str]:
    return __all__


DRIVER = "postgresql+psycopg://"
INSTALL = "python -m pip install 'splitpoint[postgresql]'"
HEARTBEAT_S, GRACE_S = 10, 60  # a process that is silent for longer than the latter is taken to be dead
TRIES, PAUSE_S = 10, 0.3  # of two processes that make the tables of a database at once
PROBLEM = "problem"  # study attribute: the content key of what is searched
FOLDER, MOST_STUDIES = "studies", 200  # of journals in the cache folder: the last ones are kept
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a command keeps its study."""

    storage: str | None = None  # a journal's file or the URL of a database; None: a journal in the cache folder
    study: str | None = None  # its name; None: it follows from the problem
    artifacts: str | None = None  # where other machines find what they need; None: beside a journal that was named
    fresh: bool = False  # begin a new study in place of one that is there

    @property
    def shared(self) -> bool:
        """Whether other processes are expected to join."""
        return self.storage is not None

    def journal(self, name: str) -> str:
        """The storage of a study of that name."""
        return self.storage or str(default_folder() / FOLDER / f"{name}.journal")

    @property
    def artifact_place(self) -> str | None:
        """Where artifacts go; None: nowhere, so that nobody can join."""
        if self.artifacts is not None or self.storage is None or "://" in self.storage:
            return self.artifacts
        return str(Path(self.storage).absolute()) + ".artifacts"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opened:
    """An open study."""

    name: str
    trials: Trials
    storage: BaseStorage
    measured: int  # candidates that were measured before


def forget_studies(folder: Path, *, most: int) -> None:
    """Remove the journals of a folder, but for the `most` that were written last."""
    with contextlib.suppress(OSError):
        journals = sorted(folder.glob("*.journal"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in journals[most:]:
            path.unlink()
            path.with_name(f"{path.name}.flock").unlink(missing_ok=True)


def check_storage(place: Place) -> None:
    """Raise `ProfileError` unless the storage that was named can be one, before anything is opened."""
    scheme, colon, _ = (place.storage or "").partition("://")
    if colon and scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ProfileError(
            f"expected a journal's file or postgresql://USER@HOST/DATABASE, got {scheme}://...", at="--storage"
        )


@contextlib.contextmanager
def open_storage(text: str) -> Iterator[BaseStorage]:
    """The storage in a journal's file or behind a PostgreSQL URL, closed with the block.

    Raises `ProfileError` where it cannot be opened.
    """
    check_storage(Place(storage=text))
    if "://" not in text:
        yield open_journal(Path(text))
        return
    import optuna
    import sqlalchemy.exc

    database = _open_database(text)
    try:
        yield database
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ProfileError(
            f"the database cannot be used any more: {_reason(error)}",
            at=_host(text),
            fix="the same command goes on when it can",
        ) from error
    finally:
        database.remove_session()
        database.engine.dispose()


@contextlib.contextmanager
def open_study(place: Place, name: str, problem: str, objectives: Sequence[str]) -> Iterator[Opened]:
    """The study of the problem with that content key, made where there is none; another's is refused.

    Two processes may open it at once. What dead processes left is waiting again.
    """
    name = place.study or name
    if not _NAME.fullmatch(name):
        raise ProfileError(f"expected a name of letters, digits and . _ -, got {name!r}", at="--study")
    if not place.shared:
        forget_studies(default_folder() / FOLDER, most=MOST_STUDIES - 1)
    with open_storage(place.journal(name)) as storage:
        yield _opened(_own_study(storage, place, name, problem, objectives), storage)


def _own_study(storage: BaseStorage, place: Place, name: str, problem: str, objectives: Sequence[str]) -> Study:
    import optuna

    with quiet():
        if place.fresh and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(
            study_name=name, storage=storage, directions=["minimize"] * len(objectives), load_if_exists=True
        )
        there = study.user_attrs.get(PROBLEM)
        if there is None:
            study.set_user_attr(PROBLEM, problem)
            study.set_metric_names([f"log10 {name}" if name in LOGARITHMIC else name for name in objectives])
    if there not in (None, problem):
        raise ProfileError(
            f"the study {name} is of another problem",
            at="--study",
            fix="another name, or none; --fresh replaces that study",
        )
    return study


def join_study(storage: BaseStorage, name: str) -> Opened:
    """The study of that name; raises `ProfileError` with the names of those that are there."""
    import optuna

    names = optuna.get_all_study_names(storage)
    if name not in names:
        known = ", ".join(names) or "there is none"
        raise ProfileError(
            f"there is no study {name}; known: {known}", fix="splitpoint plan ... --storage URL makes one"
        )
    with quiet():
        study = optuna.load_study(study_name=name, storage=storage)
    return _opened(study, storage)


def _opened(study: Study, storage: BaseStorage) -> Opened:
    trials = Trials(study, storage)
    trials.leave_lost()
    return Opened(name=study.study_name, trials=trials, storage=storage, measured=len(trials.judged()))


def _open_database(url: str) -> RDBStorage:
    """Optuna's storage in a PostgreSQL database, with heartbeats; what a silent process began is begun again."""
    import optuna
    import sqlalchemy.exc

    if importlib.util.find_spec("psycopg") is None:
        raise ProfileError("PostgreSQL needs psycopg, which is not installed", fix=INSTALL)
    url = DRIVER + url.partition("://")[2]
    for attempt in range(TRIES):
        try:
            with quiet():
                return optuna.storages.RDBStorage(
                    url,
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=GRACE_S,
                    heartbeat_stale_trial_callback=begin_again,
                )
        except (sqlalchemy.exc.ArgumentError, ValueError) as error:
            raise ProfileError(f"this is no URL of a database: {error}", at="--storage") from error
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if isinstance(error, sqlalchemy.exc.OperationalError) or attempt == TRIES - 1:
                raise ProfileError(f"the database cannot be used: {_reason(error)}", at=_host(url)) from error
            time.sleep(PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def _host(url: str) -> str:
    """The URL without user and password, which are not printed."""
    return url.partition("://")[2].rpartition("@")[2].partition("?")[0]


def _reason(error: BaseException) -> str:
    """The first line of what the database said."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
