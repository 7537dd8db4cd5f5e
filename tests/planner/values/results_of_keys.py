"""Prints the content keys of real results beside the SHA-256 of their bytes; tests run it in several processes."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Context
from splitpoint.codecs.fitted import save_fitted
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.context import Contexts, spread
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.coding.sensitivity import sensitivity_diagonal
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.keys import (
    activations_key,
    content_key,
    context_key,
    fitted_key,
    outcomes_key,
    picture_key,
    runtime_on,
    sensitivities_key,
)
from splitpoint.profiles.machine.machine import this_machine

CUT = "r1"  # inside the small network
CODECS = ("raw", "fp16", "fast", "brito-lloyd", "brito-tcq", "uniform-zstd", "range-rans", "assine-pca", "kltq-ctx")
PICTURE = "jpeg"
RATE = 0


def sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def main(home: Path) -> dict[str, list[str]]:
    """Key and SHA-256 of the result by the result's name; the folder `home` holds labelled.yaml."""
    problem = load_problem(read_config(home / "labelled.yaml"))
    graph, sets, seed = problem.graph, problem.split, problem.config.search.seed
    cut = next(cut for cut in enumerate_cuts(graph).cuts if cut.name == CUT)
    block = sets.search.spec
    runtime = runtime_on(this_machine(threads=1))
    calibration = NetworkInputs(sets.calibration)
    rows = spread(len(calibration), len(calibration))
    results: dict[str, list[str]] = {}

    contexts = Contexts(graph, calibration, labels=sets.calibration.labels, seed=seed, threads=1)
    contexts.prepare([cut], [REGISTRY["kltq-ctx"]])
    known = contexts(REGISTRY["kltq-ctx"], cut, CUT, rows)
    assert known.gradients is not None
    key = sensitivities_key(
        model_sha256=graph.sha256,
        module_sha256="",
        input_block=block,
        data_sha256=sets.calibration.sha256(),
        cuts=[cut.tensors],
        seed=seed,
        runtime=runtime,
    )
    results["sensitivities"] = [key, sha256(known.gradients.tobytes())]

    inputs = {"calibration": calibration, "search": NetworkInputs(sets.search)}
    with NetworkRuns(graph, inputs, threads=1, labels=sets.calibration.labels, seed=seed) as runs:
        keys = {}
        for subset, dataset in (("calibration", sets.calibration), ("search", sets.search)):
            keys[subset] = activations_key(
                model_sha256=graph.sha256,
                input_block=block,
                data_sha256=dataset.sha256(),
                tensors=cut.tensors,
                runtime=runtime,
            )
            values = [runs.activation(cut, subset, i)[CUT].tobytes() for i in range(len(dataset))]
            results[f"activations {subset}"] = [keys[subset], sha256(*values)]

        activations = np.concatenate([runs.activation(cut, "calibration", i)[CUT] for i in rows])
        diagonal = sensitivity_diagonal(split(graph, cut)[1], activations, seed=seed, threads=1)
        results["diagonal"] = [
            content_key("diagonal", activations=keys["calibration"], seed=seed, runtime=runtime),
            sha256(diagonal.tobytes()),
        ]

        runs.prepare([cut], [REGISTRY[name] for name in CODECS])
        evaluator = Evaluator(
            runs, sets.search, problem.metric, {CUT: cut}.__getitem__, [t.name for t in graph.outputs]
        )

        def outcomes(candidate: Candidate, coding: str | None) -> list[str]:
            measured = evaluator.measure(candidate)
            assert measured is not None
            key = outcomes_key(
                model_sha256=graph.sha256,
                reference_sha256=graph.sha256,
                coding=coding,
                rate=None if coding is None else candidate.rate,
                input_block=block,
                data_sha256=sets.search.sha256(),
                subset="search",
                task=problem.metric.task,
                against=problem.metric.against,
                metric_sha256=problem.metric.use.sha256,
                runtime=runtime,
            )
            return [key, sha256(msgspec.msgpack.encode(measured))]

        for name in CODECS:
            context: Context = contexts(REGISTRY[name], cut, CUT, rows)
            fit = fitted_key(
                activations=keys["calibration"],
                rows=rows,
                codec=REGISTRY[name],
                rates=[RATE],
                contexts=[context_key(context)],
                runtime=runtime,
            )
            results[f"fitted {name}"] = [fit, sha256(save_fitted(runs.fit(cut, name, RATE)))]
            point = Candidate(variant="given", placement="split", cut=CUT, codec=name, rate=RATE)
            results[f"outcomes {name}"] = outcomes(point, fit)
        sent = Candidate(variant="given", placement="server", cut="", codec=PICTURE, rate=RATE)
        results["outcomes picture"] = outcomes(sent, picture_key(codec=PICTURES[PICTURE], rate=RATE, runtime=runtime))
        kept = Candidate(variant="given", placement="device", cut="", codec="-", rate=0)
        results["outcomes device"] = outcomes(kept, None)
    return results


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
