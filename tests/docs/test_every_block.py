"""Every command and block of every page is run: here, in a folder made for its page, or where runs.yaml says.

Commands and programs run in the order of their page, as a person would type them, beside the files that the page shows
(blocks with a title). YAML is read as what it is a part of. A new block needs nothing but to run.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.deploy.schema import PolicyRow
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.files.structs import decode_tree, decode_yaml
from splitpoint.profiles.files.yaml12 import load
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.machine.device import Device
from splitpoint.tests.docs.blocks import PAGES, ROOT, SHELLS, Item, free_names, items
from splitpoint.tests.docs.stand_ins import NAMES, fill, prepare, typed

KINDS = ("command", "python", "yaml", "csv", "text")
PIP = re.compile(r"python -m pip install (?:-e )?'?(?P<what>[^\s'&]+)'?(?: && )?")
EXTRAS = re.compile(r"^(?:\.|CHECKOUT|splitpoint)\[([\w,]+)\]$")
OTHERS = ("optimum-onnx", "cosmic-ray")  # what else pages install
NEEDS = {"docs/how-to/hugging-face.md": ("transformers", "optimum")}  # modules of the extra docs
LINK: Any = Link
NEW = """\
```rust
fn main() {}
```
```python
x = unheard_of
```
```csv
a,b
```
```csv title="unused.csv"
c
```
```
Answer:
```

    splitpoint verify plan
    python new.py \\
        --fast

and

    $ git diff
    + a line

```sh
for d in a b; do
    echo $d  # both
done
ls
```
```text
printed
```

    a formula = b
"""
CI = {line.strip().removesuffix(" &&") for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()}


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs.yaml says of items of a page."""

    page: str
    begins: str
    test: str = ""
    reason: str = ""
    code: str = ""

    def covers(self, item: Item) -> bool:
        here = self.page == item.page or (self.page == "*" and f"[{item.page}]" not in self.test)
        return here and rest(item).startswith(self.begins) and item.kind not in ("text", "yaml")


class Runs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """runs.yaml."""

    elsewhere: tuple[Entry, ...]
    not_run: tuple[Entry, ...]
    may_end_with_1: tuple[Entry, ...]
    then: tuple[Entry, ...]


RUNS = msgspec.yaml.decode(Path(__file__).with_name("runs.yaml").read_bytes(), type=Runs)


def rest(item: Item) -> str:
    """The item without an installation at its beginning, whose extras another test checks."""
    return PIP.sub("", item.text, count=1) if item.kind == "command" else item.text


def runs_here(item: Item) -> bool:
    """Whether a scenario of this module types the command, or runs the program."""
    if any(entry.covers(item) for entry in (*RUNS.elsewhere, *RUNS.not_run)):
        return False
    if item.kind == "command":
        return bool(rest(item)) and item.text not in CI
    return item.kind == "python" and (not item.title or any(entry.covers(item) for entry in RUNS.then))


def wrong(item: Item, others: Sequence[Item] = ()) -> str | None:
    """Why nothing would notice if this item of a page with the `others` did not work."""
    entries = [entry for entry in (*RUNS.elsewhere, *RUNS.not_run) if entry.covers(item)]
    if len(entries) > 1:
        return f"runs.yaml has it {len(entries)} times"
    if item.kind not in KINDS:
        return f"nobody runs or reads a block of {item.kind!r}: say one of {', '.join((*SHELLS, *KINDS[1:]))}"
    if item.kind == "python":
        compile(item.text, str(item), "exec")
    if item.kind == "csv" and not item.title:
        return 'a file without a name: title="NAME"'
    if item.kind in ("csv", "python") and item.title and not runs_here(item):
        used = [other for other in others if other.kind == "command" and item.title in other.text]
        return None if used else f"no command of the page uses {item.title}"
    if item.kind == "python":
        unknown = sorted(free_names(item.text) - set(NAMES))
        return f"nothing defines {', '.join(unknown)}" if unknown else None
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_item_is_run_or_read_or_says_why_not(page: str) -> None:
    found = items(page)
    assert [f"{item}: {why}" for item in found if (why := wrong(item, found))] == []


@pytest.mark.parametrize("kind", Runs.__struct_fields__)
def test_the_lists_have_no_entry_too_many(kind: str) -> None:
    everything = [item for page in PAGES for item in items(page)]
    entries: tuple[Entry, ...] = getattr(RUNS, kind)
    assert entries
    assert [entry for entry in entries if not any(entry.covers(item) for item in everything)] == []
    field = {"elsewhere": "test", "then": "code"}.get(kind, "reason")
    assert [entry for entry in entries if not getattr(entry, field)] == []


@pytest.mark.parametrize("entry", RUNS.elsewhere, ids=lambda entry: entry.begins or entry.page)
def test_the_other_tests_exist(entry: Entry) -> None:
    file, _, function = entry.test.partition("::")
    name, _, parameter = function.partition("[")
    if function:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")
    else:
        assert list((ROOT / file).rglob("test_*.py"))
    if parameter:
        there = [item for item in items(parameter.removesuffix("]")) if rest(item).startswith(entry.begins)]
        assert any(runs_here(item) for item in there), f"{entry.test} does not run it"


@pytest.mark.parametrize("item", [item for page in PAGES for item in items(page) if item.kind == "yaml"], ids=str)
def test_every_yaml_block_is_a_part_of_something(item: Item, tmp_path: Path) -> None:
    fields: Any = load(item.text, str(item))
    if "policy" in fields:
        rows = decode_tree(fields, Policy, where=str(item)).policy
        assert [row.to_bit_s for row in rows[:-1]] == [row.from_bit_s for row in rows[1:]]
    elif "kind" in fields:
        assert decode_yaml(item.text, LINK, where=str(item)).name == Path(item.title).stem
    elif fields.keys() & {"compute", "accelerator"}:
        board: Any = next(other for other in items(item.page) if other.title == "my-board.yaml")
        whole = board.text if board == item else board.text + item.text
        (tmp_path / "my-board.yaml").write_text(whole, encoding="utf-8")
        device = load_device(tmp_path / "my-board.yaml")
        assert isinstance(device, Device)
        assert (device.accelerator is None) == (board == item)
    else:
        document = {"model": "net.onnx", "data": {"source": "data.npz"}} | fields
        config = decode_tree(document, PlanConfig, where=str(item))
        assert config.metric is None or config.asked_task() is not None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of plan.yaml that a page shows."""

    policy: tuple[PolicyRow, ...]


def test_what_pages_install_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    commands = [item.text for page in PAGES for item in items(page) if item.kind == "command"]
    installed = [match["what"] for text in commands for match in PIP.finditer(text)]
    assert len(installed) > 5
    for what in installed:
        extras = EXTRAS.match(what)
        assert extras or what in OTHERS, what
        assert extras is None or set(extras[1].split(",")) <= set(project["optional-dependencies"])


def test_a_new_block_is_noticed(tmp_path: Path) -> None:
    """What has no run of its own kind is refused, and what has one is run."""
    (tmp_path / "new.md").write_text(NEW, encoding="utf-8")
    found = items("new.md", tmp_path)
    whys = {item.text.split("\n")[0]: why for item in found if (why := wrong(item, found))}
    assert list(whys) == ["fn main() {}", "x = unheard_of", "a,b", "c", "Answer:"]
    assert "unheard_of" in whys["x = unheard_of"]
    assert [item.text for item in found if item.kind == "command"] == [
        *("splitpoint verify plan", "python new.py \\\n    --fast", "git diff"),
        *("for d in a b; do\n    echo $d\ndone", "ls"),
    ]
    lines = NEW.splitlines()
    assert all(lines[item.line - 1].strip().removeprefix("$ ").startswith(item.text.split("\n")[0]) for item in found)
    assert all(runs_here(item) for item in found if item.kind == "command")
    (tmp_path / "open.md").write_text("```sh\nls", encoding="utf-8")
    with pytest.raises(ValueError, match=r"open\.md:1"):
        items("open.md", tmp_path)


SCENARIOS = [page for page in PAGES if any(runs_here(item) for item in items(page))]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "filled"
    folder.mkdir()
    fill(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", SCENARIOS)
def test_a_page_does_what_it_says(page: str, filled: Path, tmp_path: Path) -> None:
    for module in NEEDS.get(page, ()):
        pytest.importorskip(module)
    folder = Path(shutil.copytree(filled, tmp_path / "folder"))
    prepare(page, folder)
    for item in items(page):
        if item.title:
            (folder / item.title).write_text(item.text, encoding="utf-8")
        if runs_here(item):
            run(item, folder, cache=filled.with_name("cache"))


def run(item: Item, folder: Path, *, cache: Path) -> None:
    """Type a command, or run a program with what it takes from its reader before it and what has to hold behind it."""
    text = typed(rest(item), folder)
    if item.kind == "command":
        command = ["bash", "-euo", "pipefail", "-c", text]
    else:
        before = [NAMES[name] for name in sorted(free_names(text))]
        then = [entry.code for entry in RUNS.then if entry.covers(item)]
        command = [sys.executable, "-W", "error", "-c", "\n".join([*before, text, *then])]
    codes = {0, 1} if any(entry.covers(item) for entry in RUNS.may_end_with_1) else {0}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, cache),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode in codes, f"{item}\n{done.stdout}{done.stderr}"


@functools.cache
def environment(folder: Path, cache: Path) -> dict[str, str]:
    """The splitpoint of this environment, kept results that the pages share, and no hub."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    return {"PATH": path, "HOME": str(folder), "SPLITPOINT_CACHE": str(cache), "HF_HUB_OFFLINE": "1", **kept}
