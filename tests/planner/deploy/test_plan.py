"""A plan in use: wrong inputs, a budget of bytes, another folder at its path, many threads."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint import Plan
from splitpoint.codecs.coders.raw import RawCoder
from splitpoint.codecs.contract.protocol import CodecError, PayloadError, TensorSpec
from splitpoint.codecs.store import save_coders
from splitpoint.planner.deploy import stored
from splitpoint.planner.deploy.plan import PayloadTooLargeError
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml

SIDE = 16  # of the small network's picture


def picture(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def jpeg_plan(fixed_result: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan that sends the picture, at a quality that is not the lowest."""
    point = next(
        p for p in fixed_result.points if p.candidate.placement == "server" and p.candidate.codec.startswith("jpeg")
    )
    folder = tmp_path_factory.mktemp("jpeg") / "plan"
    write_plan(fixed_result, point, folder)
    file = Plan.load(folder).file
    raised = msgspec.structs.replace(file, codec=msgspec.structs.replace(file.codec, rate=5))
    (folder / "plan.yaml").write_text(dump_yaml(raised))
    return folder


@pytest.fixture(params=["split", "picture"])
def any_plan(request: pytest.FixtureRequest, fixed_plan: Path, jpeg_plan: Path) -> Plan:
    return Plan.load(fixed_plan if request.param == "split" else jpeg_plan)


WRONG_INPUTS = [
    None,
    [[1, 2]],
    5,
    b"bytes",
    {"x": None},
    {"x": [1]},
    {1: picture()},
    {},
    object(),
    picture()[0],
]


def test_a_text_names_a_picture(any_plan: Plan) -> None:
    with pytest.raises(ProfileError, match="there is no such picture"):
        any_plan.head("text")


@pytest.mark.parametrize("x", WRONG_INPUTS, ids=lambda x: f"{type(x).__name__}{'' if x is None else len(repr(x))}")
def test_a_wrong_input_is_a_codec_error(any_plan: Plan, x: Any) -> None:
    with pytest.raises(CodecError, match="expected"):
        any_plan.head(x)


@pytest.mark.parametrize("payload", [None, "text", 5, [1, 2], np.zeros(50, np.uint8), b"", object()])
def test_a_wrong_payload_is_a_payload_error(any_plan: Plan, payload: Any) -> None:
    with pytest.raises(PayloadError):
        any_plan.tail(payload)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_payload_may_be_any_bytes(any_plan: Plan, kind: Any) -> None:
    payload = any_plan.head(picture())
    assert np.array_equal(np.asarray(any_plan.tail(kind(payload))), np.asarray(any_plan.tail(payload)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directory": None}, "expected the path of a plan directory, got NoneType"),
        ({"directory": 5}, "expected the path of a plan directory, got int"),
        ({"threads": 0}, "expected 1 to 1024 threads, got 0"),
        ({"threads": 100_000}, "expected 1 to 1024 threads, got 100000"),
        ({"threads": "2"}, "expected 1 to 1024 threads, got '2'"),
        ({"expect": "123"}, "expected a SHA-256 of 64 hexadecimal digits"),
        ({"expect": 5}, "expected a SHA-256 of 64 hexadecimal digits"),
        ({"expect": "0" * 64}, "this is another plan: expected SHA-256 0000"),
    ],
)
def test_wrong_arguments_of_load(fixed_plan: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Plan.load(**{"directory": fixed_plan, **arguments})


def test_a_plan_is_bound_to_the_hash_that_its_sender_published(fixed_copy: Path) -> None:
    published = hashlib.sha256((fixed_copy / "plan.yaml").read_bytes()).hexdigest()
    plan = Plan.load(fixed_copy, expect=published.upper())
    assert plan.sha256 == published
    # Somebody changes the decoder and the hash in plan.yaml: only the published hash shows it.
    tail = (fixed_copy / "tail.onnx").read_bytes() + b"\x00"
    (fixed_copy / "tail.onnx").write_bytes(tail)
    forged = msgspec.structs.replace(plan.file, files=plan.file.files | {"tail.onnx": hashlib.sha256(tail).hexdigest()})
    (fixed_copy / "plan.yaml").write_text(dump_yaml(forged))
    Plan.load(fixed_copy)
    with pytest.raises(ProfileError, match="this is another plan"):
        Plan.load(fixed_copy, expect=published)


def test_a_split_above_the_budget_is_refused_and_nothing_else_changes(fixed_plan: Path) -> None:
    plan = Plan.load(fixed_plan)
    payload = plan.head(picture())
    assert plan.head(picture(), max_bytes=len(payload)) == payload
    with pytest.raises(PayloadTooLargeError, match="this input takes") as caught:
        plan.head(picture(), max_bytes=len(payload) - 1)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (len(payload), len(payload) - 1)


def test_a_picture_above_the_budget_is_sent_at_a_coarser_rate(jpeg_plan: Path) -> None:
    plan = Plan.load(jpeg_plan)
    full = plan.head(picture())
    smaller = plan.head(picture(), max_bytes=len(full) - 1)
    assert len(smaller) < len(full)
    assert (full[4], smaller[4] < full[4]) == (5, True)  # the rate in the header
    assert smaller[4] == max(rate for rate in range(5) if len(at_rate(jpeg_plan, rate)) < len(full))
    assert np.asarray(plan.tail(smaller)).shape == np.asarray(plan.tail(full)).shape
    with pytest.raises(PayloadTooLargeError):
        plan.head(picture(), max_bytes=30)


def at_rate(folder: Path, rate: int) -> bytes:
    plan = Plan.load(folder)
    plan.file = msgspec.structs.replace(plan.file, codec=msgspec.structs.replace(plan.file.codec, rate=rate))
    return plan.head(picture())


def test_a_finer_rate_than_the_plan_is_no_payload_of_it(jpeg_plan: Path) -> None:
    with pytest.raises(PayloadError, match="written at rate 7, this plan has 5, 4"):
        Plan.load(jpeg_plan).tail(at_rate(jpeg_plan, 7))


@pytest.mark.parametrize("limit", [0, -1, 1.5, "100"])
def test_a_budget_that_is_none_is_refused(any_plan: Plan, limit: Any) -> None:
    with pytest.raises(CodecError, match="max_bytes is a number of bytes"):
        any_plan.head(picture(), max_bytes=limit)


def test_a_device_with_another_scale_is_another_plan(fixed_copy: Path, fixed_plan: Path) -> None:
    file = Plan.load(fixed_copy).file
    scaled = msgspec.structs.replace(file, input=msgspec.structs.replace(file.input, scale=2 * file.input.scale))
    (fixed_copy / "plan.yaml").write_text(dump_yaml(scaled))
    with pytest.raises(PayloadError, match="written for another plan"):
        Plan.load(fixed_plan).tail(Plan.load(fixed_copy).head(picture()))


def test_what_was_opened_stays_when_the_folder_is_replaced_or_removed(fixed_copy: Path) -> None:
    used, lazy = Plan.load(fixed_copy), Plan.load(fixed_copy)
    payload = used.head(picture())
    shutil.rmtree(fixed_copy)
    assert lazy.head(picture()) == payload
    assert np.array_equal(np.asarray(lazy.tail(payload)), np.asarray(used.tail(payload)))


def test_a_side_needs_only_its_files(fixed_plan: Path, tmp_path: Path) -> None:
    for side, model in (("device", "head.onnx"), ("server", "tail.onnx")):
        (tmp_path / side).mkdir()
        for name in ("plan.yaml", "codec.npz", model):
            shutil.copy2(fixed_plan / name, tmp_path / side / name)
    device, server = Plan.load(tmp_path / "device"), Plan.load(tmp_path / "server")
    assert np.array_equal(
        np.asarray(server.tail(device.head(picture()))), np.asarray(Plan.load(fixed_plan).tail(device.head(picture())))
    )
    with pytest.raises(ProfileError, match=r"tail\.onnx is missing"):
        device.tail(device.head(picture()))


def test_the_bytes_that_were_checked_are_those_that_run(fixed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is swapped behind the check is not what ONNX Runtime gets."""
    honest = stored.check_hash
    swapped: list[str] = []

    def swap(data: bytes, expected: str, *, name: str, at: str) -> None:
        honest(data, expected, name=name, at=at)
        (fixed_copy / name).write_bytes(b"swapped")
        swapped.append(name)

    payload = Plan.load(fixed_copy).head(picture())
    monkeypatch.setattr(stored, "check_hash", swap)
    assert Plan.load(fixed_copy).head(picture()) == payload
    assert set(swapped) == {"head.onnx", "codec.npz"}


def test_threads_give_what_one_thread_gives(any_plan: Plan) -> None:
    alone = Plan.load(any_plan.directory)
    expected = {
        seed: (alone.head(picture(seed)), np.asarray(alone.tail(alone.head(picture(seed))))) for seed in range(4)
    }

    def use(number: int) -> bool:
        seed = number % 4
        payload = any_plan.head(picture(seed))
        return payload == expected[seed][0] and np.array_equal(np.asarray(any_plan.tail(payload)), expected[seed][1])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "codec.npz"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_file_that_is_no_file_is_refused(fixed_copy: Path, name: str, kind: str, make: Callable[..., None]) -> None:
    make(fixed_copy / name, kind)
    with pytest.raises(ProfileError, match=r"expected a (regular )?file"):
        Plan.load(fixed_copy)


@pytest.fixture
def make() -> Callable[[Path, str], None]:
    def replace(path: Path, kind: str) -> None:
        path.rename(path.with_name("away"))
        if kind == "link":
            path.symlink_to(path.with_name("away"))
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()

    return replace


def change(folder: Path, **fields: Any) -> None:
    (folder / "plan.yaml").write_text(dump_yaml(msgspec.structs.replace(Plan.load(folder).file, **fields)))


def test_files_with_right_hashes_that_do_not_belong_together(fixed_copy: Path) -> None:
    """Somebody else's hashes are right, so only the tensors show it."""
    file = Plan.load(fixed_copy).file
    payload = Plan.load(fixed_copy).head(picture())
    raw = save_coders([RawCoder(specs=(TensorSpec(name="x", shape=(1, 5), dtype="float32"),))])
    (fixed_copy / "codec.npz").write_bytes(raw)
    change(fixed_copy, files=file.files | {"codec.npz": hashlib.sha256(raw).hexdigest()})
    with pytest.raises(ProfileError, match="do not belong together"):
        Plan.load(fixed_copy).head(picture())
    many = save_coders([RawCoder(specs=(TensorSpec(name="x", shape=(1, 5), dtype="float32"),))] * 2)
    (fixed_copy / "codec.npz").write_bytes(many)
    change(fixed_copy, files=file.files | {"codec.npz": hashlib.sha256(many).hexdigest()})
    with pytest.raises(ProfileError, match=r"codec\.npz has 2 coders, the plan has 1 tensors"):
        Plan.load(fixed_copy).tail(payload)


def test_an_output_that_the_tail_does_not_have(fixed_copy: Path) -> None:
    file = Plan.load(fixed_copy).file
    outputs = (msgspec.structs.replace(file.model.outputs[0], name="other"),)
    task = msgspec.structs.replace(file.task, outputs=())
    change(fixed_copy, model=msgspec.structs.replace(file.model, outputs=outputs), task=task)
    plan = Plan.load(fixed_copy)
    with pytest.raises(ProfileError, match=r"tail\.onnx has no output 'other'"):
        plan.tail(plan.head(picture()))


@pytest.mark.parametrize("codec", [{"name": "gif"}, {"rate": 99}])
def test_a_picture_codec_that_there_is_not(jpeg_plan: Path, tmp_path: Path, codec: dict[str, Any]) -> None:
    text = (jpeg_plan / "plan.yaml").read_text()
    (tmp_path / "plan.yaml").write_text(
        re.sub(r"\n  name: jpeg\S*\n", f"\n  name: {codec['name']}\n", text)
        if "name" in codec
        else text.replace("\n  rate: 5\n", f"\n  rate: {codec['rate']}\n")
    )
    with pytest.raises(ProfileError, match="no picture codec"):
        Plan.load(tmp_path)
