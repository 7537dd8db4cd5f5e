"""The rules of ARCHITECTURE.md, compared with the tree: who imports whom, what is imported when, what lies where."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {  # folder -> folders of ours it may import
    "profiles": {"profiles"},
    "codecs": {"codecs"},
    "planner": {"planner", "profiles", "codecs"},
}
# Units of a room, bottom first: each imports only those before it. A folder's docstring names those that it imports.
ORDER = {
    "profiles": ("errors", "units", "files", "network", "machine", "link", "measurement", "library"),
    "codecs": (
        *("contract", "coders", "pictures", "transforms", "quantizers", "lossless", "lossy", "learned"),
        *("npz", "store", "fitted", "container", "registry", "speed"),
    ),
    "planner": (
        *(
            "deploy",
            "values",
            "store",
            "limits",
            "samples",
            "cuts",
            "cost",
            "choice",
            "training",
            "coding",
            "quality",
            "setup",
            "networks",
        ),
        *(
            "profiling",
            "measuring",
            "search",
            "racing",
            "answers",
            "plandir",
            "study",
            "output",
            "flow",
            "face",
            "commands",
        ),
    ),
}
HOMES: Mapping[str, str | tuple[str, ...]] = {  # a library with one home: a file, or a folder when it ends in "/"
    "numba": "codecs/coders/jit.py",
    "onnxruntime": "profiles/network/runtime.py",
    "optuna": "planner/study/",
    "rich": "planner/output/terminal/",  # a folder: any of its files
    "typer": ("cli.py", "planner/commands/", "planner/output/options.py"),  # the commands, and options that they share
    "yaml": "profiles/files/yaml12.py",
}
# Seconds to import, or not in the base install: only inside the functions that need them.
LAZY = {"fvcore", "matplotlib", "numba", "onnxscript", "optuna", "pycocotools", "skimage", "sklearn"}
LAZY |= {"IPython", "pandas", "torch", "torch_pruning"}
# Used where it is installed: codecs that say how to install it, tables of notebooks, and tools of benchmarks.
OPTIONAL = {"IPython", "av", "cosmic_ray", "pandas", "pillow_jxl", "polygraphy"}
LONGEST_FILE = 450
MOST_FILES = 13  # of a folder
# Dependencies that are used without being imported, and the word by which their file uses them.
NOT_IMPORTED = {
    "mkdocs-material": "Material",
    "mkdocstrings": ":::",
    "mypy": "mypy",
    "onnxscript": "torch.onnx.export",
    "optimum-onnx": "optimum-cli",
    "plotly": "plotly.min.js",
    "ruff": "ruff",
    "scikit-image": "skimage",
    "setuptools": "build_sdist",
    "types-PyYAML": "mypy",
}
EXTRAS = {  # folder -> extras whose dependencies it may import
    "cli.py": (),
    "__init__.py": (),
    **dict.fromkeys(ROOMS, ("plan", "detect", "postgresql", "report", "s3")),
    "examples": ("plan", "examples"),
    "benchmarks": ("plan", "examples", "test"),
    "tests": ("plan", "detect", "docs", "examples", "postgresql", "report", "s3", "test"),
    ".ci": (),
}


class Import(NamedTuple):
    """One imported module, with "module.name" for each name taken from it."""

    module: str
    names: tuple[str, ...]
    line: int
    at_top: bool  # runs when the file is imported


def sources(*folders: str) -> list[Path]:
    """Python files below `folders` (default: the package), the root's with them."""
    found = [ROOT / "__init__.py", ROOT / "cli.py"]
    for folder in folders or tuple(ROOMS):
        found += sorted((ROOT / folder).rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("splitpoint", *(part for part in parts if part != "__init__")))


@functools.cache
def imports(path: Path) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8")), at_top=True))


def _imports(node: ast.AST, *, at_top: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, (), node.lineno, at_top)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield Import(module, tuple(alias.name for alias in node.names), node.lineno, at_top)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        named = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
        yield from (Import(str(name), (), node.lineno, at_top) for name in named)
    inside = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for statement in node.body:
            yield from _imports(statement, at_top=False)
        return
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, at_top=inside)


def modules(path: Path) -> Iterator[tuple[str, int]]:
    """Every module of ours that `path` imports, "from splitpoint.planner import table" as its module."""
    ours = {module_of(other) for other in sources()}
    for found in imports(path):
        if found.module.split(".")[0] == "splitpoint":
            below = [f"{found.module}.{name}" for name in found.names if f"{found.module}.{name}" in ours]
            yield from ((module, found.line) for module in below or [found.module])


def test_the_root_holds_the_package_and_the_command_line_only() -> None:
    assert sorted(path.name for path in ROOT.glob("*.py")) == ["__init__.py", "__main__.py", "cli.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_the_rooms_they_may(room: str) -> None:
    allowed = {f"splitpoint.{other}" for other in ROOMS[room]}
    version = {"splitpoint"} if room == "planner" else set()  # plan.yaml says which splitpoint wrote it
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for module, line in modules(path)
        if ".".join(module.split(".")[:2]) not in allowed and module not in version
    ]
    assert wrong == []


def units() -> Iterator[tuple[str, str, dict[str, str]]]:
    """(room, unit, what it imports of its room -> where), a unit being a file or a folder of the room."""
    for room in ROOMS:
        found: dict[str, dict[str, str]] = {}
        for path in sorted((ROOT / room).rglob("*.py")):
            unit = path.relative_to(ROOT / room).parts[0].removesuffix(".py")
            inside = found.setdefault(unit, {})
            for module, line in modules(path):
                parts = module.split(".")
                if parts[1:2] == [room] and len(parts) > 2 and parts[2] != unit:
                    inside.setdefault(parts[2], f"{name_of(path)}:{line}")
        found.pop("__init__")
        yield from ((room, unit, imported) for unit, imported in found.items())


@pytest.mark.parametrize(
    ("room", "unit", "imported"), list(units()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_unit_imports_only_units_before_it_and_a_folder_says_which(
    room: str, unit: str, imported: dict[str, str]
) -> None:
    order = ORDER[room]
    assert unit in order, f"{room}/{unit}: give it a place in ORDER"
    before = order[: order.index(unit)]
    assert {name: where for name, where in imported.items() if name not in before} == {}
    folder = ROOT / room / unit / "__init__.py"
    if folder.is_file():
        text = ast.get_docstring(ast.parse(folder.read_text(encoding="utf-8"))) or ""
        named = ", ".join(name for name in order if name in imported) or "nothing"
        assert " ".join(text.split()).endswith(f"Imports of {room}: {named}."), f"expected: Imports of {room}: {named}."


def test_packages_have_a_few_files_each() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    counts = {name_of(folder): len([p for p in folder.glob("*.py") if p.name != "__init__.py"]) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}


def test_nothing_imports_the_command_line() -> None:
    wrong = [
        f"{name_of(path)}:{line}"
        for path in sources(*ROOMS, "examples", "benchmarks")
        for module, line in modules(path)
        if module == "splitpoint.cli"
    ]
    assert wrong == []


def test_imports_are_absolute_and_take_no_private_names() -> None:
    wrong = []
    for path in sources(*ROOMS, "examples", "benchmarks", "tests"):
        for found in imports(path):
            private = [name for name in found.names if name.startswith("_") and not name.startswith("__")]
            if found.module.startswith(".") or (found.module.startswith("splitpoint") and private):
                wrong.append(f"{name_of(path)}:{found.line} {found.module} {private}")
    assert wrong == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str) -> None:
    homes = {
        name_of(path)
        for path in sources(*ROOMS, "examples", "benchmarks")
        for found in imports(path)
        if found.module.split(".")[0] == library
    }
    home = HOMES[library]
    allowed = (home,) if isinstance(home, str) else home
    folders = tuple(name for name in allowed if name.endswith("/"))
    assert homes
    assert {name for name in homes if name not in allowed and not (folders and name.startswith(folders))} == set()


def test_heavy_libraries_are_imported_inside_functions() -> None:
    wrong = [
        f"{name_of(path)}:{found.line} {found.module}"
        for path in sources(*ROOMS, "examples")
        for found in imports(path)
        if found.at_top and found.module.split(".")[0] in LAZY
    ]
    assert wrong == []


@pytest.mark.parametrize("statement", ["import splitpoint", "from splitpoint import Plan", "import splitpoint.cli"])
def test_importing_is_cheap(statement: str) -> None:
    code = f"{statement}; import sys; print(*sys.modules.keys() & {LAZY})"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_every_module_says_what_is_public() -> None:
    wrong = []
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py" and len(tree.body) == 1:
            continue  # a docstring: it defines nothing
        module = importlib.import_module(module_of(path))
        listed = getattr(module, "__all__", None)
        if not isinstance(listed, list) or "__dir__" not in vars(module) or dir(module) != sorted(listed):
            wrong.append(f"{name_of(path)}: no __all__ with a __dir__ that gives it")
            continue
        wrong += [f"{name_of(path)}: {name} does not exist" for name in listed if not hasattr(module, name)]
    assert wrong == []


def test_modules_take_only_public_names_from_each_other() -> None:
    wrong = []
    for path in sources():
        for found in imports(path):
            if not found.module.startswith("splitpoint"):
                continue
            module = importlib.import_module(found.module)
            public = {*getattr(module, "__all__", ()), *(name for name in found.names if _is_module(module, name))}
            wrong += [f"{name_of(path)}:{found.line} {found.module}.{name}" for name in set(found.names) - public]
    assert wrong == []


def _is_module(package: object, name: str) -> bool:
    return (ROOT / Path(*str(getattr(package, "__name__", "")).split(".")[1:]) / f"{name}.py").is_file()


def test_files_are_short() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources(*ROOMS, "examples", "benchmarks", "tests", ".ci")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_the_build_lists_every_package() -> None:
    folders = {module_of(path): name_of(path.parent) for path in sources() if path.name == "__init__.py"}
    setuptools = pyproject()["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(folders)
    assert setuptools["package-dir"] == folders


def test_no_file_names_the_machine_it_was_written_on() -> None:
    paths = re.compile("|".join(f"/{folder}/" for folder in ("tmp", "work", "root", "home")))
    wrong = []
    for path in texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if found := paths.search(re.sub(r"https?://\S+", "", line)):
                wrong.append(f"{name_of(path)}:{number} {found.group()}")
    assert wrong == []


def texts() -> Iterator[Path]:
    """Text files of the repository: the root's, and all below the folders that it consists of."""
    yield from (path for path in ROOT.glob("*") if path.suffix in (".md", ".py", ".toml") or path.name == ".gitignore")
    for folder in (*ROOMS, "tests", "examples", "benchmarks", "docs", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and b"\0" not in path.read_bytes()[:4096]:
                yield path


@functools.cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@functools.cache
def installed() -> Mapping[str, list[str]]:
    """Distributions by the top-level modules they bring."""
    return importlib.metadata.packages_distributions()


class Dependency(NamedTuple):
    """A line of pyproject.toml."""

    name: str
    extra: str | None
    comment: str


def dependencies() -> list[Dependency]:
    project = pyproject()["project"]
    groups: dict[str | None, list[str]] = {None: project["dependencies"], **project["optional-dependencies"]}
    comments = dict(re.findall(r'^ {4}"([^"]+)",[ ]*(?:# (.*))?$', (ROOT / "pyproject.toml").read_text(), re.M))
    return [
        Dependency(re.split(r"[<>=!~\[; ]", line)[0], extra, comments[line])
        for extra, lines in groups.items()
        for line in lines
        if not line.startswith("splitpoint[")
    ]


def distributions(path: Path) -> set[str]:
    """Names, in lower case, of the distributions that `path` imports anything of."""
    found = {found.module.split(".")[0] for found in imports(path)} - {"splitpoint"} - OPTIONAL
    tops = {top for top in found if top not in sys.stdlib_module_names and not top.startswith(("_", "."))}
    return {distribution.lower() for top in tops for distribution in installed().get(top, [top])}


@pytest.mark.parametrize("dependency", dependencies(), ids=lambda dependency: dependency.name)
def test_a_dependency_says_which_files_need_it(dependency: Dependency) -> None:
    files = re.findall(r"[\w.-]+(?:/[\w.-]+)+|cli\.py", dependency.comment)
    files = [file.rstrip(".:,") for file in files if file != "torch.onnx.export"]
    assert files, f"{dependency.name}: the comment names no file"
    for file in files:
        path = ROOT / file
        assert path.is_file(), f"{dependency.name}: there is no {file}"
        if dependency.name in NOT_IMPORTED:
            assert NOT_IMPORTED[dependency.name] in path.read_text(encoding="utf-8"), file
        elif path.suffix == ".py":
            strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            named = importable(dependency.name) & strings
            assert dependency.name.lower() in distributions(path) or named, f"{file} does not import {dependency.name}"


def importable(distribution: str) -> set[object]:
    """Top-level modules of an installed distribution."""
    return {top for top, names in installed().items() if distribution.lower() in {name.lower() for name in names}}


def test_every_import_is_a_declared_dependency() -> None:
    wrong = []
    for folder, extras in EXTRAS.items():
        declared = {d.name.lower() for d in dependencies() if d.extra is None or d.extra in extras}
        paths = [ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).rglob("*.py"))
        for path in paths:
            wrong += [f"{name_of(path)} imports {name}" for name in sorted(distributions(path) - declared)]
    assert wrong == []


def test_the_base_install_needs_nothing_of_an_extra_to_be_imported() -> None:
    base = {d.name.lower() for d in dependencies() if d.extra is None}
    wrong = [
        f"{name_of(path)}:{found.line} {found.module}"
        for path, found in itertools.chain.from_iterable(((p, f) for f in imports(p)) for p in sources())
        if found.at_top
        and (top := found.module.split(".")[0]) not in {"splitpoint", *sys.stdlib_module_names}
        and not {name.lower() for name in installed().get(top, [top])} & base
    ]
    assert wrong == []
