"""JSON Schemas of the documents that --json prints, and of the files that users write.

``python -m splitpoint.planner.output.schema FOLDER`` writes them. The command without FOLDER writes to docs/schema of
the current folder; a test compares the files with this module.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.planner.output.documents.answers.compare import CompareDocument
from splitpoint.planner.output.documents.answers.map import MapDocument
from splitpoint.planner.output.documents.answers.what_if import WhatIfDocument
from splitpoint.planner.output.documents.cache import CacheDocument
from splitpoint.planner.output.documents.calibrate import CalibrateDocument
from splitpoint.planner.output.documents.cuts import CutsDocument
from splitpoint.planner.output.documents.document import Document
from splitpoint.planner.output.documents.listings import CodecsDocument, ProfilesDocument
from splitpoint.planner.output.documents.plan import PlanDocument
from splitpoint.planner.output.documents.profile import ProfileDocument
from splitpoint.planner.output.documents.show import ShowDocument
from splitpoint.planner.output.documents.train import TrainDocument
from splitpoint.planner.output.documents.verify import VerifyDocument
from splitpoint.planner.output.report.document import ReportDocument
from splitpoint.planner.output.work_run import WorkDocument
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.files.schemas import file_schema
from splitpoint.profiles.files.structs import write_text
from splitpoint.profiles.link.types import Link
from splitpoint.profiles.machine.device import Device

__all__ = ["DOCUMENTS", "FILES", "file_schema_text", "main", "schema_text"]


def __dir__() -> list[str]:
    return __all__


FOLDER = Path("docs") / "schema"
DOCUMENTS: Mapping[str, type[Document]] = {  # by command; `export` prints the document of `show`
    "cache": CacheDocument,
    "calibrate": CalibrateDocument,
    "codecs": CodecsDocument,
    "compare": CompareDocument,
    "cuts": CutsDocument,
    "map": MapDocument,
    "plan": PlanDocument,
    "profile": ProfileDocument,
    "profiles": ProfilesDocument,
    "report": ReportDocument,
    "show": ShowDocument,
    "train": TrainDocument,
    "verify": VerifyDocument,
    "what-if": WhatIfDocument,
    "work": WorkDocument,
}

FILES: Mapping[str, Any] = {
    "configuration": PlanConfig,
    "device": Device,
    "link": Link,
}  # what users write; a server, too


def schema_text(document: type[Document]) -> str:
    """The JSON Schema (draft 2020-12) of a document, as its file holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(document)}
    return json.dumps(_with_clean_text(schema), indent=2, ensure_ascii=False) + "\n"


def _with_clean_text(schema: Any) -> Any:
    """`schema` with descriptions without their docstrings' indents, which msgspec keeps before 0.23."""
    if isinstance(schema, dict):
        clean = {name: _with_clean_text(value) for name, value in schema.items()}
        text = clean.get("description")
        return {**clean, "description": inspect.cleandoc(text)} if isinstance(text, str) else clean
    return [_with_clean_text(each) for each in schema] if isinstance(schema, list) else schema


def file_schema_text(name: str) -> str:
    """The JSON Schema of one of `FILES`, as its file holds it."""
    return json.dumps(file_schema(FILES[name]), indent=2, ensure_ascii=False) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write FOLDER/NAME.json for every document and file; gives the exit code 0.

    Raises `ProfileError` where it cannot.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    folder = Path(given[0]) if given else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for command, document in DOCUMENTS.items():
        write_text(folder / f"{command}.json", schema_text(document))
    for name in FILES:
        write_text(folder / f"{name}.json", file_schema_text(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
