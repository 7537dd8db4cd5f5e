"""Bytes that the machines of a study share: in a folder, or in a bucket with the API of S3, through Optuna's stores.

What is read is compared with the length and the SHA-256 that the study has of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.artifacts._protocol import ArtifactStore

__all__ = ["Artifacts", "Blob"]


def __dir__() -> list[str]:
    return __all__


INSTALL = "python -m pip install 'splitpoint[s3]'"
SCHEME = "s3://"
MOST_BYTES = 4 << 30  # of one artifact


class Blob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where some bytes are, and which bytes they are."""

    artifact: str  # its number in the store
    sha256: str
    size_bytes: int


class Artifacts:
    """The artifacts of one study."""

    def __init__(self, location: str) -> None:
        """`location` is a folder, which is made, or s3://BUCKET/PREFIX."""
        self.location = location
        self._store: ArtifactStore = _bucket(location) if location.startswith(SCHEME) else _folder(Path(location))

    def put(self, content: bytes, name: str, of: Study | Trial) -> Blob:
        """Store `content` as an artifact of a study or a trial, which Optuna's dashboard lists by `name`.

        Raises `ProfileError` where it cannot be stored.
        """
        from optuna.artifacts import upload_artifact

        with tempfile.TemporaryDirectory(prefix="splitpoint-") as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            try:
                number = upload_artifact(artifact_store=self._store, file_path=str(path), study_or_trial=of)
            except Exception as error:  # of a client of S3, of a file system
                raise ProfileError(f"an artifact cannot be written: {error}", at=self.location) from error
        return Blob(artifact=number, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    def get(self, blob: Blob) -> bytes:
        """The bytes; raises `ProfileError` where they are not there or are not the ones that the study means."""
        if not 0 <= blob.size_bytes <= MOST_BYTES:
            raise ProfileError(f"an artifact of {blob.size_bytes:,} bytes, expected at most {MOST_BYTES:,}")
        try:
            with self._store.open_reader(blob.artifact) as reader:
                content = reader.read(blob.size_bytes + 1)
        except Exception as error:
            raise ProfileError(
                f"an artifact cannot be read: {error}",
                at=self.location,
                fix="--artifacts names where they are from here",
            ) from error
        if len(content) != blob.size_bytes or hashlib.sha256(content).hexdigest() != blob.sha256:
            raise ProfileError(
                f"the artifact {blob.artifact} is not what was stored: its hash differs", at=self.location
            )
        return content


def _folder(path: Path) -> ArtifactStore:
    from optuna.artifacts import FileSystemArtifactStore

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProfileError(f"the folder of artifacts cannot be made: {error.strerror}", at=str(path)) from error
    return FileSystemArtifactStore(path)


def _bucket(location: str) -> ArtifactStore:
    from optuna.artifacts import Boto3ArtifactStore

    bucket, _, prefix = location.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise ProfileError("expected s3://BUCKET or s3://BUCKET/PREFIX", at=location)
    if importlib.util.find_spec("boto3") is None:
        raise ProfileError("artifacts in S3 need boto3, which is not installed", fix=INSTALL)
    try:
        store = Boto3ArtifactStore(bucket)
    except Exception as error:  # botocore's: no region, a profile that is not there
        raise ProfileError(f"S3 cannot be used: {error}", at=location) from error
    return _Prefixed(store, prefix.strip("/") + "/") if prefix.strip("/") else store


class _Prefixed:
    """A store below a prefix of a bucket's keys."""

    def __init__(self, store: ArtifactStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """As `ArtifactStore`."""
        return self._store.open_reader(self._prefix + artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """As `ArtifactStore`."""
        self._store.write(self._prefix + artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """As `ArtifactStore`."""
        self._store.remove(self._prefix + artifact_id)
