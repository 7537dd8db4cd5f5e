"""Artifacts in a folder and in a bucket behind moto's server, which speaks the API of S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import msgspec
import optuna
import pytest
from moto.server import ThreadedMotoServer

from splitpoint.planner.study.artifacts import Artifacts, Blob
from splitpoint.profiles.errors import ProfileError

BUCKET = "studies"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    settings = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}"


@pytest.fixture(params=["folder", "bucket", "prefix"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "new" / "folder")
    bucket: str = request.getfixturevalue("s3")
    return bucket if request.param == "bucket" else f"{bucket}/of/ours/"


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def test_what_is_stored_is_read_by_another_process_at_the_same_place(location: str, study: optuna.Study) -> None:
    content = bytes(range(256)) * 50
    blob = Artifacts(location).put(content, "search.npz", study)
    assert blob.size_bytes == len(content)
    assert Artifacts(location).get(blob) == content
    (meta,) = optuna.artifacts.get_all_artifact_meta(study)
    assert (meta.artifact_id, meta.filename) == (blob.artifact, "search.npz")


def test_a_prefix_is_that_of_the_keys(s3: str, study: optuna.Study) -> None:
    blob = Artifacts(f"{s3}/here").put(b"x", "a", study)
    keys = [entry["Key"] for entry in boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="here/")["Contents"]]
    assert f"here/{blob.artifact}" in keys
    with pytest.raises(ProfileError, match="cannot be read"):
        Artifacts(f"{s3}/elsewhere").get(blob)


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size_bytes": 5}, {"size_bytes": 7}, {"size_bytes": -1}])
def test_other_bytes_than_those_that_the_study_means_are_refused(
    location: str, study: optuna.Study, change: dict[str, object]
) -> None:
    artifacts = Artifacts(location)
    blob = artifacts.put(b"sixsix", "a", study)
    with pytest.raises(ProfileError, match=r"hash differs|expected at most"):
        artifacts.get(msgspec.structs.replace(blob, **change))


def test_what_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="expected at most"):
        Artifacts(str(tmp_path)).get(Blob(artifact="a", sha256="", size_bytes=1 << 60))


@pytest.mark.parametrize("artifact", ["missing", "../outside", "/etc/passwd"])
def test_numbers_that_lead_elsewhere_are_refused(tmp_path: Path, artifact: str) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    with pytest.raises(ProfileError, match="cannot be read"):
        Artifacts(str(tmp_path / "folder")).get(Blob(artifact=artifact, sha256="", size_bytes=1))


def test_places_that_cannot_be_used_are_said(tmp_path: Path, s3: str, study: optuna.Study) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProfileError, match="cannot be made"):
        Artifacts(str(tmp_path / "file"))
    with pytest.raises(ProfileError, match="expected s3://BUCKET"):
        Artifacts("s3://")
    with pytest.raises(ProfileError, match="cannot be written"):
        Artifacts("s3://there-is-none").put(b"x", "a", study)
