"""Readers of samples: a labelled or flat folder of pictures, an .npz file, or a function that the user wrote."""

from __future__ import annotations

import csv
import random
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.samples.npz import load_npz
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.regular import read_text
from splitpoint.profiles.files.user_code import call_user_code, import_named
from splitpoint.profiles.network.input_shapes import DeclaredInput
from splitpoint.profiles.network.inputs import InputSpec, read_picture_file
from splitpoint.profiles.network.pictures.picture_files import DamagedPictureError

__all__ = ["PICTURES", "load_data", "load_factory", "load_folder"]


def __dir__() -> list[str]:
    return __all__


PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
NOT_DATA = frozenset({".csv", ".db", ".ini", ".json", ".md", ".txt", ".xml", ".yaml", ".yml"})  # beside the pictures
MOST_NAMED = 10  # damaged pictures that an error lists
LABELS, CLASSES = "labels.csv", "classes.txt"


def load_data(
    source: str,
    spec: InputSpec | None,
    *,
    base: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    inputs: Sequence[DeclaredInput] = (),
    ignored: Collection[str] = (),
    skip_damaged: bool = False,
) -> Dataset:
    """The samples of a folder of pictures, an .npz file, or "file.py:function" / "package.module:function".

    Relative paths start at `base` (the configuration's folder). `limit` keeps that many pictures of a folder, evenly by
    class, chosen by `seed`; `skip_damaged` leaves out those that cannot be read. `inputs` are those of the network, by
    whose names the arrays of an .npz file are found; arrays that are `ignored` are not looked at. Only a function that
    returns a `Dataset` can do without `spec`. Raises `ProfileError`.
    """
    path = (base or Path()) / source
    if not path.exists() and ":" in source:
        return load_factory(source, spec, base=base)
    if spec is None:
        raise ProfileError("these data need an input: block", at=source)
    if path.is_dir():
        return load_folder(path, spec, limit=limit, seed=seed, skip_damaged=skip_damaged)
    if path.suffix == ".npz" and path.exists():
        return load_npz(path, spec, inputs=inputs, ignored=ignored)
    what = "neither a folder nor an .npz file" if path.exists() else "there is no such folder or file"
    raise ProfileError(
        f"the data cannot be loaded: {what}", at=str(path), fix="a folder of pictures, data.npz, or file.py:function"
    )


def load_folder(
    folder: Path, spec: InputSpec, *, limit: int | None = None, seed: int = 0, skip_damaged: bool = False
) -> Dataset:
    """The samples of DIR: a folder per class, or pictures with labels.csv (file, label and/or group) or without labels.

    The index of a class is its line in DIR/classes.txt. Without that file it is the name of the folder when all names
    are numbers, else the position of the name in sorted order. Every picture is a group of its own unless labels.csv
    has a column `group`. Damaged pictures are one error that lists them, or left out with `skip_damaged`.
    """
    top = _listing(folder)
    pictures = [p for p in top if p.is_file()]
    folders = [p for p in top if p.is_dir()]
    names = _class_names(folder)
    if (folder / LABELS).is_file():
        rows, names = _from_csv(folder, names)
    elif folders and pictures:
        raise ProfileError(
            f"pictures beside class folders: {pictures[0].name} and {folders[0].name}/",
            at=str(folder),
            fix="put every picture into a class folder",
        )
    elif folders:
        rows, names = _from_class_folders(folders, names, folder)
    else:
        rows = [(p, None, p.name) for p in pictures]
    if not rows:
        raise ProfileError(f"no pictures ({', '.join(sorted(PICTURES))})", at=str(folder))
    samples, damaged = _read(_limited(rows, limit, seed), spec)
    if damaged and not (skip_damaged and samples):
        raise _damaged_error(damaged, len(samples) + len(damaged), folder)
    return Dataset(
        spec=spec,
        samples=tuple(samples),
        classes=names if rows[0][1] is not None else None,
        source=str(folder),
        skipped=tuple(str(error.at) for error in damaged),
    )


def _differences(given: InputSpec, wanted: InputSpec) -> str:
    """The fields that differ: "resize is 'cover', expected 'exact'"."""
    ours, theirs = msgspec.to_builtins(given), msgspec.to_builtins(wanted)
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return "; ".join(f"{name} is {ours.get(name)!r}, expected {theirs.get(name)!r}" for name in names)


def load_factory(reference: str, spec: InputSpec | None, *, base: Path | None = None) -> Dataset:
    """The samples that "file.py:function" (the file relative to `base`) or "package.module:function" returns.

    The function takes nothing and returns a `Dataset` or a sequence of `Sample`, which then need `spec`.
    """
    function = import_named(reference, base=base)
    if not callable(function):
        raise ProfileError(f"expected a function, got {type(function).__name__}", at=reference)
    result = call_user_code(function, at=reference)
    if isinstance(result, Dataset):
        if spec is not None and result.spec != spec:
            raise ProfileError(
                f"its input block is not the configuration's: {_differences(result.spec, spec)}",
                at=reference,
                fix="make $.input and the spec of the Dataset the same",
            )
        return result
    samples = call_user_code(lambda: tuple(result), at=reference) if isinstance(result, Sequence) else ()
    if not isinstance(result, Sequence) or not all(isinstance(sample, Sample) for sample in samples):
        raise ProfileError(f"expected a Dataset or a sequence of Samples, got {type(result).__name__}", at=reference)
    if spec is None:
        raise ProfileError("samples without a Dataset need an input: block", at=reference)
    return Dataset(spec=spec, samples=samples, source=reference)


def _read(rows: Sequence[Row], spec: InputSpec) -> tuple[list[Sample], list[DamagedPictureError]]:
    """The pictures that can be read, and the errors of those that cannot."""
    samples, damaged = [], []
    for path, label, group in rows:
        try:
            picture, changes = read_picture_file(path, spec)
        except DamagedPictureError as error:
            damaged.append(error)
        else:
            samples.append(Sample(name=str(path), group=group, label=label, picture=picture, changes=changes))
    return samples, damaged


def _damaged_error(damaged: Sequence[DamagedPictureError], count: int, folder: Path) -> ProfileError:
    names = [f"{Path(str(error.at)).relative_to(folder)} ({error.message})" for error in damaged[:MOST_NAMED]]
    more = f", and {len(damaged) - MOST_NAMED} more" if len(damaged) > MOST_NAMED else ""
    rest = count - len(damaged)
    return ProfileError(
        f"{len(damaged)} of {count} pictures cannot be read: {', '.join(names)}{more}",
        at=str(folder),
        fix=f"replace them, or plan with the other {rest}: --skip-damaged, or skip_damaged: true under data:"
        if rest
        else "is this the right folder?",
    )


Row = tuple[Path, int | None, str]  # file, label, group
Names = tuple[str, ...] | None  # class names by label


def _listing(folder: Path) -> list[Path]:
    """Pictures and folders, sorted. A file that looks like data but is not a picture is an error, never skipped."""
    entries = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path.is_file() and path.suffix.lower() in NOT_DATA):
            continue
        if path.is_file() and path.suffix.lower() not in PICTURES:
            raise ProfileError(
                f"a '{path.suffix}' file is not a picture that can be read", at=str(path), fix="convert or remove it"
            )
        entries.append(path)
    return entries


def _class_names(folder: Path) -> Names:
    path = folder / CLASSES
    if not path.is_file():
        return None
    names = tuple(read_text(path).split("\n"))
    names = tuple(name.strip() for name in (names[:-1] if names[-1] == "" else names))
    if "" in names or len(set(names)) != len(names):
        raise ProfileError("a class name is empty or is listed twice", at=str(path))
    return names


def _index(names: Sequence[str], given: Names, at: Path) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """Class name -> label, and the class names by label (None when the names are the labels)."""
    if given is not None:
        unknown = sorted(set(names) - set(given))
        if unknown:
            raise ProfileError(f"class '{unknown[0]}' is not in {CLASSES}", at=str(at))
        return {name: i for i, name in enumerate(given)}, given
    if all(name.isascii() and name.isdigit() for name in names):
        return {name: int(name) for name in names}, None
    ordered = tuple(sorted(set(names)))
    return {name: i for i, name in enumerate(ordered)}, ordered


def _from_class_folders(folders: Sequence[Path], given: Names, at: Path) -> tuple[list[Row], Names]:
    index, names = _index([f.name for f in folders], given, at)
    rows: list[Row] = []
    for folder in folders:
        files = _listing(folder)
        if not files:
            raise ProfileError(
                "this class folder has no pictures", at=str(folder), fix="add pictures or remove the folder"
            )
        nested = next((f for f in files if f.is_dir()), None)
        if nested is not None:
            raise ProfileError("a class folder contains a folder", at=str(nested), fix="expected DIR/class/picture")
        rows += [(f, index[folder.name], f"{folder.name}/{f.name}") for f in files]
    return rows, names


def _from_csv(folder: Path, given: Names) -> tuple[list[Row], Names]:
    path = folder / LABELS
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            table = list(reader)
            columns = set(reader.fieldnames or ())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProfileError(f"not a CSV file: {error}", at=str(path)) from error
    if not {"file"} < columns <= {"file", "label", "group"}:
        raise ProfileError(f"expected columns file, label and/or group, got {sorted(columns)}", at=str(path))
    if any(None in row or None in row.values() for row in table):
        raise ProfileError(f"a row does not have the {len(columns)} columns of the first line", at=str(path))
    labelled = "label" in columns
    index, names = _index([row["label"] for row in table], given, path) if labelled else ({}, None)
    rows: list[Row] = [
        (folder / row["file"], index[row["label"]] if labelled else None, row.get("group", row["file"]))
        for row in table
    ]
    files = [row[0] for row in rows]
    if len(set(files)) != len(files):
        twice = next(f for f in files if files.count(f) > 1)
        raise ProfileError(f"'{twice.name}' is listed twice", at=str(path))
    return rows, names


def _limited(rows: list[Row], limit: int | None, seed: int) -> list[Row]:
    if limit is None or limit >= len(rows):
        return rows
    if limit < 1:
        raise ProfileError(f"limit must be at least 1, got {limit}")
    shuffled = list(range(len(rows)))
    random.Random(seed).shuffle(shuffled)
    seen: dict[int | None, int] = {}
    ranked = []
    for i in shuffled:
        label = rows[i][1]
        ranked.append((seen.get(label, 0), i))
        seen[label] = seen.get(label, 0) + 1
    ranked.sort(key=lambda pair: pair[0])  # stable: the first of every class, then the second, ...
    return [rows[i] for i in sorted(i for _, i in ranked[:limit])]
