"""Write the tables of docs/papers and README.md from the JSON of the measurements: no figure differs from its source.

    python -m splitpoint.examples.papers.pages

A table of a page stands between ``<!-- begin: PART -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from splitpoint.examples.papers import assine, brito, choi, common, compare, jankowski, kumaraswamy

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "papers"
BENCHMARKS = ROOT / "benchmarks" / "results"
END = "<!-- end -->"
SOURCES = {  # of the trained papers, by page
    "kumaraswamy": (
        *("learned-vgg16", "learned-resnet20", "learned-joint", "learned-single-joint"),
        *("learned-vgg16-one-a-rate", "learned-resnet20-one-a-rate", "bottleneck-vgg16"),
    ),
    "jankowski": ("jscc-vgg16",),
    "choi": (
        *(f"choi-{figure}-{network}" for network in ("yolox-nano", "strided") for figure in ("channels", "bits")),
        *("back-and-forth-yolox-nano", "back-and-forth-strided"),
    ),
    "compare": ("learned-vgg16", "bottleneck-vgg16", "jscc-vgg16", "back-and-forth-strided"),
}


def results() -> dict[str, Any]:
    """Every JSON by name: the benchmarks', and those of the papers' scripts."""
    paths = [*BENCHMARKS.glob("*.json"), *common.RESULTS.glob("*.json")]
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def parts(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The tables of each page by the name of their part."""
    tables = {
        "brito": brito.tables(found["brito"]),
        "assine": assine.tables(found["assine"]),
        "kumaraswamy": kumaraswamy.measured(found),
        "jankowski": jankowski.measured(found),
        "choi": choi.measured(found),
        "compare": compare.measured(found),
    }
    for name, script in (("kumaraswamy", kumaraswamy), ("jankowski", jankowski), ("choi", choi)):
        tables[name] |= script.tables(found[name])
    for name, own in tables.items():
        files = [*([f"../../examples/papers/results/{name}.json"] if name in found else [])]
        files += [f"../../benchmarks/results/{source}.json" for source in SOURCES.get(name, ())]
        own["sources"] = "\n".join(_source(file, found[Path(file).stem]) for file in files)
    return tables | {"README": {"results": compare.summary(found)}}


def place_of(name: str) -> Path:
    """The file of a page."""
    return ROOT / "README.md" if name == "README" else PAGES / f"{name}.md"


def filled(page: str, own: Mapping[str, str]) -> str:
    """The page with its parts replaced; raises `ValueError` where a part is missing on it or has no table."""
    for name, text in own.items():
        begin = f"<!-- begin: {name} -->"
        before, found, rest = page.partition(begin)
        if not found or END not in rest:
            raise ValueError(f"no part {name!r}: {begin} and {END}")
        page = f"{before}{begin}\n\n{text}\n\n{rest[rest.index(END) :]}"
    if page.count("<!-- begin: ") != len(own):
        raise ValueError("a part of the page has no table")
    return page


def _source(file: str, found: Mapping[str, Any]) -> str:
    count = found.get("images")
    judged = f", {count:,} pictures" if isinstance(count, int) else ""
    kept = f"; the rest: `{found['kept']['command']}`, {found['kept']['date']}" if "kept" in found else ""
    return f"- [{Path(file).name}]({file}): `{found['command']}`, {found['date']}{judged}{kept}"


def main() -> None:
    """Fill every page."""
    for name, own in parts(results()).items():
        path = place_of(name)
        path.write_text(filled(path.read_text(encoding="utf-8"), own), encoding="utf-8")


if __name__ == "__main__":
    main()
