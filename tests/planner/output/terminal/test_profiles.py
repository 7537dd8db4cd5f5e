"""`splitpoint profiles` lists what is shipped, the same in the table and in the document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[4] / "profiles" / "library"


def test_every_shipped_profile_is_listed_with_its_description(run: Callable[..., Any]) -> None:
    code, table = run("profiles")[:2]
    document = json.loads(run("profiles", "--json")[1])
    assert code == 0
    listed = {(row["kind"], row["name"]) for row in document["profiles"]}
    shipped = {
        (kind, path.stem)
        for kind, folder in (("device", "devices"), ("server", "servers"), ("link", "links"))
        for path in (LIBRARY / folder).glob("*.yaml")
    }
    assert listed == shipped
    rows = " ".join(table.split())
    for row in document["profiles"]:
        assert f"{row['kind']} {row['name']}" in rows
        assert " ".join(row["description"].split()[:3]) in rows
