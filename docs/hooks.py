"""For MkDocs and its theme Material: figures outside docs/ that pages link to become part of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINKED = "benchmarks/results"
UP = re.compile(rf"\]\((?:\.\./)+({LINKED}/[^)#]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the linked files under the path that they have in the repository."""
    for path in sorted((ROOT / LINKED).iterdir()):
        if path.suffix in (".svg", ".json"):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave docs/ for such a file stay within the site."""
    depth = page.file.src_uri.count("/")
    return UP.sub(lambda match: f"]({'../' * depth}{match[1]})", markdown)
