"""Nothing that belongs to the process is changed by calls of the library, from however many threads they come."""

from __future__ import annotations

import ast
import concurrent.futures
import functools
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageFile

from splitpoint import Plan
from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.planner.flow import plan
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, read_picture

ROOT = Path(__file__).parent.parent
THREADS = 8
DAMAGED = 12  # payloads of each picture
ROUNDS = 3
# Calls that change the process, and the only places that may make them: they restore it, one thread at a time.
CHANGING = {
    *("catch_warnings", "simplefilter", "filterwarnings", "resetwarnings", "set_default_logger_severity"),
    *("set_num_threads", "setLevel", "set_verbosity", "basicConfig", "addHandler", "seterr", "set_printoptions"),
    *("redirect_stdout", "redirect_stderr", "chdir", "putenv", "umask", "setrecursionlimit", "setlocale"),
}
ALLOWED = {
    "profiles/network/torch_model.py": {
        *("catch_warnings", "simplefilter", "setLevel", "redirect_stdout", "redirect_stderr"),
    },
    "planner/coding/gradients.py": {"set_num_threads"},
    "planner/output/logs.py": {"setLevel", "addHandler"},  # of the logger "splitpoint", while a command runs
    "planner/quality/detection/coco.py": {"redirect_stdout"},
    "planner/study/trials.py": {"catch_warnings", "filterwarnings", "set_verbosity", "simplefilter"},
}


def process_state() -> dict[str, Any]:
    """What belongs to the process and could be changed by a library."""
    loggers = [
        logging.getLogger(),
        *(x for x in logging.Logger.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    state: dict[str, Any] = {
        "warnings": (list(warnings.filters), warnings.showwarning, warnings.formatwarning),
        "logging": {x.name: set_up for x in loggers if (set_up := logger_state(x)) != NEW_LOGGER},
        "numpy": (np.geterr(), np.geterrcall(), np.get_printoptions(), str(np.random.get_state())),  # noqa: NPY002
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "python": (sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.excepthook, threading.excepthook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "locale": locale.setlocale(locale.LC_ALL),
        "random": random.getstate(),
    }
    for library in ("torch", "numba"):
        if library in sys.modules:
            state[library] = sys.modules[library].get_num_threads()
    return state


def logger_state(logger: logging.Logger) -> tuple[object, ...]:
    return logger.level, list(logger.handlers), list(logger.filters), logger.disabled, logger.propagate


NEW_LOGGER = logger_state(logging.Logger("new"))  # what an import makes, and changes nothing


@pytest.fixture(scope="module")
def plans(home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Plan directories: cuts with symbols and with floats of range coders, and pictures in every format."""
    folder = tmp_path_factory.mktemp("plans")
    config = read_config(home / "labelled.yaml")
    codecs = ("fast", "uniform-zstd", "kltq-ctx", "brito-tcq", "choi-tiles")
    config = msgspec.structs.replace(config, search=msgspec.structs.replace(config.search, codecs=codecs))
    outcome = plan(load_problem(config), stored_profile=home / "profile.yaml")
    chosen = {point.candidate.codec: point for point in outcome.points if point.candidate.codec != "raw"}
    for codec, point in chosen.items():
        write_plan(outcome, point, folder / codec)
    assert set(chosen) & set(PICTURES)
    assert set(chosen) - set(PICTURES)
    return sorted(folder.iterdir())


def use(folder: Path, x: np.ndarray, opened: Plan | None = None) -> list[object]:
    """What became of a picture and of damaged payloads of it."""
    split = opened or Plan.load(folder, threads=1)
    payload = split.head(x)
    results: list[object] = [payload, np.asarray(split.tail(payload)).tobytes()]
    generator = np.random.default_rng(0)
    for _ in range(DAMAGED):
        flipped, place = bytearray(payload), int(generator.integers(len(payload)))
        flipped[place] ^= 1 << int(generator.integers(8))
        results += [outcome_of(functools.partial(split.tail, data)) for data in (bytes(flipped), payload[:place])]
    return results


def outcome_of(call: Callable[[], object]) -> object:
    try:
        return np.asarray(call()).tobytes()
    except (CodecError, ProfileError) as error:
        return type(error), str(error)


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
def test_plans_in_eight_threads_give_what_one_gives_and_change_nothing(
    plans: list[Path], pictures: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    before = process_state()
    shared = {folder: Plan.load(folder, threads=1) for folder in plans}
    jobs = [(folder, pictures[i], shared[folder] if i % 2 else None) for i in range(THREADS) for folder in plans]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:  # before one thread: loading is shared, too
        together = [list(pool.map(lambda job: use(*job), jobs)) for _ in range(ROUNDS)]
    alone = [use(folder, x) for folder, x, _ in jobs]
    assert all(results == alone for results in together)
    assert process_state() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("name", [name for name, codec in PICTURES.items() if codec.refuses() is None])
def test_pictures_decoded_in_eight_threads_change_nothing(
    name: str, pictures: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    codec, before = PICTURES[name], process_state()
    good = codec.encode(pictures[0], 0)
    cut = [good[: len(good) * part // 16] for part in range(16)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda data: outcome_of(lambda: codec.decode(data, (16, 16))), [*cut, good] * 20))
    assert results == results[:17] * 20
    assert process_state() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("frequent_switches")
def test_picture_files_read_in_eight_threads_change_nothing(
    tmp_path: Path, pictures: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    odd = exif.tobytes()[:-6] + b"\xff" * 30  # Pillow's own reader warns of it
    for format_ in ("jpeg", "png", "webp", "bmp", "tiff"):
        extra = {} if format_ in ("bmp", "tiff") else {"exif": odd}
        Image.fromarray(pictures[0]).save(tmp_path / f"whole.{format_}", format_, **extra)
        data = (tmp_path / f"whole.{format_}").read_bytes()
        if format_ != "tiff":
            (tmp_path / f"cut.{format_}").write_bytes(data[: len(data) // 2])
    files = sorted(tmp_path.iterdir())
    spec = InputSpec(size=16)
    before = process_state()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda path: outcome_of(lambda: read_picture(path, spec)), files * 40))
    assert results == results[: len(files)] * 40
    assert [isinstance(result, bytes) for result in results[: len(files)]] == ["whole" in path.name for path in files]
    assert process_state() == before
    assert capfd.readouterr() == ("", "")


def test_only_listed_files_change_the_process() -> None:
    found: dict[str, set[str]] = {}
    for room in ("profiles", "codecs", "planner"):
        for path in sorted((ROOT / room).rglob("*.py")):
            names = {
                node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Call)
            }
            if names & CHANGING:
                found[path.relative_to(ROOT).as_posix()] = names & CHANGING
    assert found == ALLOWED
