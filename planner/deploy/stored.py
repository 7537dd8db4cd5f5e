"""A plan directory that is open: plan.yaml, and every other file as the bytes that its hash was compared with."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from splitpoint.planner.deploy.file_names import CODEC, PLAN, RUNNING, is_plan_file
from splitpoint.planner.deploy.folder import Folder, StoredFile
from splitpoint.planner.deploy.schema import PlanFile, check_format
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import decode_tree, decode_yaml
from splitpoint.profiles.files.yaml12 import load as load_yaml

__all__ = ["StoredPlan", "check_hash", "open_plan"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

ATTEMPTS = 100  # at a folder that is replaced each time before its files are open
PLAN_BYTES = 1 << 20
PLAN_NODES = 10_000  # scalars and collections: a plan with 700 points
MODEL_BYTES = (1 << 31) - 1  # a protobuf message holds less than 2 GiB
CODER_BYTES = 1 << 28
SMALL_BYTES = 1 << 26  # of any other file
PICTURES_BYTES = 1 << 32  # of inputs and reference outputs


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredPlan:
    """A plan directory that is open, with the files that run."""

    folder: Folder
    file: PlanFile
    sha256: str  # of plan.yaml
    running: Mapping[str, StoredFile]  # those of RUNNING that are in the folder

    def at(self, name: str) -> str:
        """The path of a file, for messages."""
        return str(self.folder.path / name)

    def read(self, name: str) -> bytes:
        """The bytes of a file that plan.yaml lists, by its path with slashes.

        Raises `ProfileError` when it is not listed, missing, too large, or not the file that plan.yaml lists.
        """
        expected = self.file.files.get(name) or self.file.contents.get(name)
        if expected is None:
            raise ProfileError(f"this plan has no {name}", at=self.at(PLAN))
        stored = self.running.get(name) or self.folder.open(name)
        if stored is None:
            if self.folder.replaced():
                raise ProfileError("the plan was replaced while it was read", at=self.at(name), fix="try again")
            raise ProfileError(f"{name} is missing", at=self.at(name), fix="copy it from the plan directory")
        data = stored.read(limit=_limit(name))
        check_hash(data, expected, name=name, at=self.at(name))
        return data

    def read_struct(self, name: str, kind: type[T]) -> T:
        """A YAML file of the plan as a value of `kind`; raises `ProfileError`."""
        return decode_yaml(_text(self.read(name), self.at(name)), kind, where=self.at(name))


def open_plan(directory: Path, *, expect: str | None = None) -> StoredPlan:
    """Open the folder once and everything that runs relative to it, again when another took its place meanwhile.

    Raises `ProfileError` when it holds no plan of this version, or not the one whose SHA-256 is `expect`.
    """
    for _ in range(ATTEMPTS):
        folder = Folder(directory)
        stored = folder.open(PLAN)
        if stored is None:
            if folder.replaced():
                continue
            raise ProfileError(
                f"no {PLAN} in {directory}", at=str(directory / PLAN), fix="splitpoint plan MODEL --out DIR writes one"
            )
        data = stored.read(limit=PLAN_BYTES)
        sha256 = hashlib.sha256(data).hexdigest()
        if expect is not None:
            _check_expected(sha256, expect, at=str(directory / PLAN))
        file = _parse(data, str(directory / PLAN))
        running = {name: folder.open(name) for name in RUNNING if name in file.files}
        if None in running.values() and folder.replaced():
            continue
        found = {name: opened for name, opened in running.items() if opened is not None}
        return StoredPlan(folder=folder, file=file, sha256=sha256, running=found)
    raise ProfileError("this plan is replaced again and again", at=str(directory), fix="try again later")


def check_hash(data: bytes, expected: str, *, name: str, at: str) -> None:
    """Raise `ProfileError` unless the bytes have this SHA-256."""
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ProfileError(
            f"{name} is not the file this plan was written with",
            at=f"{at}: expected SHA-256 {expected[:12]}…, got {got[:12]}…",
            fix="copy it again from the plan directory, or plan again",
        )


def _check_expected(got: str, expect: str, *, at: str) -> None:
    if not isinstance(expect, str) or len(expect) != 64 or set(expect.lower()) - set("0123456789abcdef"):
        raise ProfileError(f"expected a SHA-256 of 64 hexadecimal digits, got {expect!r}", at=at)
    if got != expect.lower():
        raise ProfileError(
            f"this is another plan: expected SHA-256 {expect.lower()}, got {got}",
            at=at,
            fix="get the plan directory again from whoever published that SHA-256",
        )


def _parse(data: bytes, at: str) -> PlanFile:
    text = _text(data, at)
    tree = load_yaml(text, at, most_nodes=PLAN_NODES)
    if not isinstance(tree, dict):
        raise ProfileError(f"{at}: expected a mapping of fields, got {type(tree).__name__}")
    check_format(str(tree.get("format", "missing")), at=at)
    return decode_tree(tree, PlanFile, where=at)


def _text(data: bytes, at: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProfileError(f"{at}: expected UTF-8 text, got byte 0x{data[error.start]:02x}") from error


def _limit(name: str) -> int:
    last = name.rpartition("/")[2]
    if last.endswith(".onnx"):
        return MODEL_BYTES
    if last == CODEC:
        return CODER_BYTES
    return PICTURES_BYTES if is_plan_file(last) else SMALL_BYTES
