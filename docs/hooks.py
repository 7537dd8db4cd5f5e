"""For MkDocs and its theme Material: figures outside docs/ that pages link to become part of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files  # type: ignore[import-not-found]  # an extra of its own

ROOT = Path(__file__).parents[1]
LINKED = ("benchmarks/results", "examples/papers/results")
UP = re.compile(rf"\]\((?:\.\./)+((?:{'|'.join(LINKED)})/[^)#]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the linked files under the path that they have in the repository."""
    for path in sorted(file for folder in LINKED for file in (ROOT / folder).iterdir()):
        if path.suffix in (".svg", ".json"):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave docs/ for such a file stay within the site."""
    depth = page.file.src_uri.count("/")
    return UP.sub(lambda match: f"]({'../' * depth}{match[1]})", markdown)
