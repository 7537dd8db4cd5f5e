"""Several networks planned together: each competes, quality is compared with the given one, plans are complete."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.cli import main
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.networks.variants import make_variants
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import DataConfig, OtherModel, PlanConfig, PruneConfig, SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.runtime import open_session

SIDE, SMALL, CLASSES, PICTURES = 16, 12, 5, 40
SPEC, SMALL_SPEC = (InputSpec(size=side, resize="exact", mean=127.0, std=64.0) for side in (SIDE, SMALL))
NET = f"""
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, {CLASSES}),
    ).eval()
    with torch.no_grad():  # centred scores make every class common
        coarse = torch.randn(256, 3, 4, 4, generator=torch.Generator().manual_seed(2))
        net[-1].bias -= net(nn.functional.interpolate(coarse, size={SIDE}, mode="nearest")).mean(0)
    return net
def other():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * {SMALL} * {SMALL}, 7)).eval()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(7)
    coarse = np.kron(rng.normal(size=(PICTURES, 4, 4, 3)), np.ones((1, 4, 4, 1)))
    np.savez(folder / "data.npz", x=np.clip(127 + 64 * coarse, 0, 255).astype(np.uint8))
    write_yaml(folder / "config.yaml", config())
    return folder


def config(**changes: Any) -> PlanConfig:
    base = PlanConfig(
        model="net.py:make",
        input=SPEC,
        models=(OtherModel(name="small input", model="net.py:make", input=SMALL_SPEC),),
        precisions=("fp32", "fp16", "int8"),
        prune=PruneConfig(ratios=(0, 0.5), cuts=("2/Relu",)),
        data=DataConfig(source="data.npz"),
        device="raspberry-pi-4",
        server="cloud-8core",
        link="lte-cat1",
        task="classify",
        need=Need(min_agreement=0.0),
        search=SearchConfig(evaluations=16, codecs=("raw", "fast"), max_cuts=2, race=False),
        threads=1,
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture(scope="module")
def result(home: Path) -> SearchResult:
    return plan(load_problem(read_config(home / "config.yaml")), stored_profile=_profile(home))


def _profile(home: Path) -> Path:
    path = home / "profile.yaml"
    if not path.exists():
        arguments = ["profile", f"{home / 'net.py'}:make", "--size", f"1x3x{SIDE}x{SIDE}", "--threads", "1"]
        assert main([*arguments, "--out", str(path)]) == 0
    return path


def test_every_variant_competes_at_its_own_cuts(result: SearchResult) -> None:
    labels = ["given", "small input", "fp16", "int8", "pruned .5 before 3"]
    assert [network.name for network in result.networks] == labels
    for label in labels:
        mine = [p for p in result.points if p.candidate.variant == label]
        assert {"device", "split"} <= {p.candidate.placement for p in mine}, label
    pruned = result.network(labels[-1])
    assert {p.candidate.cut for p in result.points if p.candidate.variant == labels[-1]} <= {
        "", *(c.tensors[0] for c in pruned.cuttable)
    }  # fmt: skip
    assert [cut.after for cut in pruned.cuttable] == ["2/Relu"]


def test_quality_is_against_the_given_network(result: SearchResult) -> None:
    """On the device nothing is coded, so what is lost there is what the variant itself loses."""
    alone = {p.candidate.variant: p.accuracy for p in result.points if p.candidate.placement == "device"}
    assert alone["given"].value == 1.0
    assert alone["given"].relative_error == 0.0
    for name in ("small input", "int8", "pruned .5 before 3"):
        assert alone[name].relative_error > 1e-4, name
    assert alone["int8"].relative_error < alone["small input"].relative_error


def test_a_smaller_network_costs_less(result: SearchResult) -> None:
    alone = {p.candidate.variant: p.cost for p in result.points if p.candidate.placement == "device"}
    assert alone["small input"].head_s < alone["given"].head_s
    assert alone["small input"].head_bytes == alone["given"].head_bytes
    assert alone["pruned .5 before 3"].head_bytes < alone["given"].head_bytes
    assert alone["int8"].head_bytes < 0.6 * alone["given"].head_bytes


@pytest.mark.parametrize("variant", ["small input", "fp16", "int8", "pruned .5 before 3"])
def test_a_plan_of_a_variant_verifies_and_exports_from_its_files(
    result: SearchResult, tmp_path: Path, variant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    point = next(p for p in result.points if p.candidate.variant == variant and p.candidate.codec in ("fast", "raw"))
    out = tmp_path / "plan"
    written = write_plan(result, point, out)
    assert written.file.variant == variant
    assert written.file.report is not None
    side = SMALL if variant == "small input" else SIDE
    assert written.file.model.inputs[0].shape == (1, 3, side, side)
    reference = np.load(out / "reference.npz")["out0"]
    assert len(reference) == written.file.report.n
    assert main(["verify", str(out)]) == 0
    (out / "reference.npz").write_bytes((out / "reference.npz").read_bytes()[:-1] + b"x")
    assert main(["verify", str(out)]) == 1
    assert "reference.npz" in capsys.readouterr().out
    with (out / "front.csv").open() as text:
        rows = {int(row["number"]): row["variant"] for row in csv.DictReader(text) if row["number"]}
    for number, label in rows.items():
        exported = tmp_path / f"point{number}"
        assert main(["export", str(out), "--point", str(number), "--out", str(exported)]) == 0
        file = Plan.load(exported).file
        assert (file.point, file.variant) == (number, label)
        assert (exported / "reference.npz").exists() == (label != "given")
        assert main(["verify", str(exported)]) == 0


def test_the_report_of_a_variant_is_against_the_given_network(result: SearchResult, tmp_path: Path) -> None:
    """Uncoded, the pruned network's report must be the agreement of the two networks run by hand."""
    network = result.network("pruned .5 before 3")
    point = next(p for p in result.points if p.candidate.variant == network.name and p.candidate.placement == "device")
    written = write_plan(result, point, tmp_path / "plan")
    from splitpoint.planner.cuts.halves import whole_bytes
    from splitpoint.planner.samples.dataset import NetworkInputs

    answers: list[list[int]] = []
    for graph in (result.given.graph, network.graph):
        session = open_session(whole_bytes(graph), level="all", threads=1)
        rows = [session.run({graph.inputs[0].name: x}) for x in NetworkInputs(result.problem.split.report)]
        answers.append([int(row[graph.outputs[0].name].argmax()) for row in rows])
    assert written.file.report is not None
    assert written.file.report.value == pytest.approx(np.mean(np.array(answers[0]) == np.array(answers[1])))


def test_two_runs_with_stored_profiles_agree(home: Path, result: SearchResult) -> None:
    repeated = plan(load_problem(read_config(home / "config.yaml")), stored_profile=_profile(home))
    assert [p.candidate for p in repeated.points] == [p.candidate for p in result.points]
    assert [p.cost for p in repeated.points] == [p.cost for p in result.points]


def test_the_command_line_labels_the_front(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", str(home / "config.yaml"), "--profile", str(_profile(home)), "--out", str(tmp_path / "plan")]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["variant"] for row in answer["baselines"]} == {"given"}
    labels = {row["variant"] for row in answer["front"]}
    assert len(labels) > 1, labels
    assert main(["show", str(tmp_path / "plan")]) == 0
    shown = capsys.readouterr().out
    assert all(label[:6] in shown for label in labels - {"given"})


def test_a_network_of_another_task_is_refused(home: Path) -> None:
    other = OtherModel(name="other", model="net.py:other", input=SMALL_SPEC)
    write_yaml(home / "other.yaml", config(models=(other,), precisions=(), prune=None))
    with pytest.raises(ProfileError, match="other gives outputs"):
        make_variants(load_problem(read_config(home / "other.yaml")))
    twice = tuple(OtherModel(name="a", model="net.py:make") for _ in range(2))
    write_yaml(home / "twice.yaml", config(models=twice, precisions=(), prune=None))
    with pytest.raises(ProfileError, match="two variants have the name 'a'"):
        make_variants(load_problem(read_config(home / "twice.yaml")))


def test_other_sizes_of_the_same_network_are_made_where_its_input_allows_it(home: Path) -> None:
    write_yaml(home / "sizes.yaml", config(models=(), sizes=(SMALL, SIDE), precisions=(), prune=None))
    variants, notes = make_variants(load_problem(read_config(home / "sizes.yaml")))
    assert [variant.name for variant in variants] == ["given", f"input {SMALL}x{SMALL}"]
    assert notes == [f"left out: input {SIDE}x{SIDE}: it is the given network's own size"]
    small = variants[1]
    assert small.graph.inputs[0].shape == (1, 3, SMALL, SMALL)
    picture = small.split.search.samples[0].picture
    assert picture is not None
    assert picture.shape == (SMALL, SMALL, 3)
    fixed = home / "fixed.onnx"
    fixed.write_bytes(whole_bytes(variants[0].graph))
    write_yaml(home / "fixed.yaml", config(model="fixed.onnx", models=(), sizes=(SMALL,), precisions=(), prune=None))
    variants, notes = make_variants(load_problem(read_config(home / "fixed.yaml")))
    assert len(variants) == 1
    assert notes[0].startswith(f"left out: input {SMALL}x{SMALL}: ")


def test_heads_to_lower_need_a_precision(home: Path) -> None:
    write_yaml(home / "no.yaml", config(models=(), precisions=("fp32",), precision_cuts=("2/Relu",), prune=None))
    with pytest.raises(ProfileError, match=r"no precision to lower[\s\S]*precision_cuts"):
        make_variants(load_problem(read_config(home / "no.yaml")))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_only_the_head_before_a_cut_is_lowered(home: Path, precision: str) -> None:
    write_yaml(
        home / "head.yaml",
        config(models=(), precisions=("fp32", precision), precision_cuts=("2/Relu",), prune=None),
    )
    problem = load_problem(read_config(home / "head.yaml"))
    given, lowered = make_variants(problem)[0]
    assert lowered.name == f"{precision} before 2/Relu"
    assert lowered.after is not None
    cuts = [cut for cut in enumerate_cuts(lowered.graph).cuts if cut.after in lowered.after]
    whole = next(cut for cut in enumerate_cuts(given.graph).cuts if cut.after == "2/Relu")
    assert cuts
    weights = [sum(node.weight_bytes for node in v.graph.nodes) for v in (given, lowered)]
    for cut in cuts:
        assert cut.head_macs == whole.head_macs
        assert cut.head_weight_bytes < whole.head_weight_bytes
        # the tail's weights are as they were, a scale and a zero point apart
        assert abs((weights[1] - cut.head_weight_bytes) - (weights[0] - whole.head_weight_bytes)) <= 64
