"""A study of ours is an ordinary Optuna study: optuna-dashboard lists it with its trials, attributes and artifacts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.flow import plan
from splitpoint.planner.setup.config import SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.study.storage import Place


@pytest.mark.filterwarnings("ignore")  # of the dashboard
def test_the_dashboard_shows_a_study(fixed_home: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        read_config(fixed_home / "labelled.yaml"),
        search=SearchConfig(evaluations=6, codecs=("fast",), max_cuts=2, race=False),
    )
    journal = tmp_path / "a.journal"
    place = Place(storage=str(journal), study="one")
    plan(load_problem(config), stored_profile=fixed_home / "fixed.yaml", store=Store(tmp_path / "kept"), studies=place)
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna_dashboard import wsgi

    application = wsgi(
        JournalStorage(JournalFileBackend(str(journal))),
        artifact_store=FileSystemArtifactStore(f"{journal}.artifacts"),
    )
    (summary,) = get(application, "/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("one", ["minimize"] * 3)
    shown = get(application, f"/api/studies/{summary['study_id']}")
    assert shown["objective_names"] == ["log10 latency", "log10 payload", "drop"]
    assert {artifact["filename"] for artifact in shown["artifacts"]} >= {"problem.msgpack", "model.onnx"}
    repeated = [trial for trial in shown["trials"] if any(row["key"] == "repeats" for row in trial["user_attrs"])]
    complete = [trial for trial in shown["trials"] if trial["state"] == "Complete" and trial not in repeated]
    assert len(complete) == 6
    for trial in complete:
        names = {attribute["key"] for attribute in trial["user_attrs"]}
        assert names >= {"candidate", "cost", "quality", "provenance", "missed", "owner", "rate"}
        assert {artifact["filename"] for artifact in trial["artifacts"]} >= {"outcomes.bin"}


def get(application: Any, path: str) -> Any:
    """The JSON that the application answers."""
    status: list[str] = []
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(application(environment, lambda line, headers, *_: status.append(line)))
    assert status == ["200 OK"], body
    return json.loads(body)
