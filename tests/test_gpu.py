"""The script for a card, rehearsed on the CPU and on a pretend card; a disagreement is reported."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils import backend_registration

import actnorm as an
from benchmarks.gpu import manners, pages, reading, report, training
from benchmarks.gpu.__main__ import main

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


def rehearse(folder: Path, *arguments: str) -> tuple[int, dict]:
    path = folder / "gpu.json"
    status = main(["--brief", "--out", str(path), *arguments])
    return status, json.loads(path.read_text(encoding="utf-8"))


def test_every_check_runs_and_passes_on_the_cpu(tmp_path):
    status, found = rehearse(tmp_path, "--device", "cpu")
    every = [c.name for room in (training, manners, reading) for c in room.checks(CPU)]
    assert [check["name"] for check in found["checks"]] == every
    assert status == 0
    assert all(check["passed"] and check["seconds"] >= 0 for check in found["checks"])
    assert {"torch", "threads", "load", "date", "device", "commit"} <= found.keys()
    assert [(row["network"], row["R"]) for row in found["rows"]] == [
        *(("mlp", 1), ("conv", 1), ("mlp", 8), ("conv", 8))
    ]
    for row in found["rows"]:
        assert row["replica-steps per second"] > 0 < row["loop / replicas"]
        assert row["TFLOP/s"] == pytest.approx(
            row["stacked products, TFLOP/s"] / row["replicas / stacked products"]
        )
    assert found["skipped"] == [{"name": "compile, pages", "why": "brief"}]


def test_operations_are_those_of_the_products():
    from benchmarks.gpu.speed import operations
    from benchmarks.replicas import NETWORKS

    # Forward and by the weights in each layer; by the inputs in all but the first.
    mlp = 2 * 40 * 64 + 3 * 64 * 64 + 3 * 64 * 10
    conv = 2 * 16 * 8 * 9 + 3 * 4 * 16 * 8 * 9 + 3 * 64 * 10
    assert operations(*NETWORKS["mlp"]) == 2 * 128 * mlp
    assert operations(*NETWORKS["conv"]) == 2 * 128 * conv


def test_a_planted_disagreement_is_a_failure(tmp_path, monkeypatch):
    train = an.train

    def off(build, data, *, device=None, **options):
        run = train(build, data, device=device, **options)
        return dataclasses.replace(run, losses=run.losses * (1 + 1e-6 * (device != CPU)))

    def broken(*arguments, **options):
        raise RuntimeError("no such kernel\nand a long story")

    monkeypatch.setattr(an, "train", off)
    monkeypatch.setattr(an.gradients, "moments", broken)
    chosen = "mlp, sgd$|split and batches|activations: float64"
    status, found = rehearse(tmp_path, "--device", "cpu:0", "--only", chosen)
    checks = {check["name"]: check for check in found["checks"]}
    assert status == 1
    assert {name for name, check in checks.items() if not check["passed"]} == {
        "streams: split and batches",
        "training: mlp, sgd",
        "gradients: moments, mlp, sgd",
        "gradients: scales, mlp, sgd",
    }
    assert checks["training: mlp, sgd"]["deviation"] == pytest.approx(1e-6, rel=0.01)
    assert checks["single: mlp, sgd"]["deviation"] == pytest.approx(1e-6, rel=0.1)
    assert checks["gradients: moments, mlp, sgd"]["error"].startswith(
        "RuntimeError: no such kernel"
    )


def test_what_is_spent_or_cut_off_leaves_the_rest(tmp_path, monkeypatch):
    status, found = rehearse(tmp_path, "--device", "cpu", "--budget", "0", "--only", "streams")
    assert status == 1
    assert all("OutOfTimeError" in check["error"] for check in found["checks"])

    def interrupted(device):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "company", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rehearse(tmp_path, "--device", "cpu", "--only", "streams")
    kept = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["checks"]
    assert [check["passed"] for check in kept] == [True] * 3


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        (np.array([1.0, 2.5]), np.array([1.0, 2.0]), 0.25),
        ({"a": [torch.ones(2)], "b": 3.0}, {"a": [torch.ones(2)], "b": 4.0}, 0.25),
        ([math.nan, 1.0], [math.nan, 1.0], 0),
        ([math.nan, 1.0], [1.0, 1.0], math.inf),
        ([math.inf], [-math.inf], math.inf),
        ({"a": 1.0}, {"b": 1.0}, math.inf),
        (np.ones(2), np.ones(3), math.inf),
        (1e-17, 0.0, 1e-11),
    ],
)
def test_distance_of_two_results(ours, theirs, expected):
    assert report.apart(ours, theirs) == pytest.approx(expected)


def test_a_page_is_judged_by_the_command_that_verifies_it(monkeypatch):
    row = pages.verify("no-such/page", CPU, limit=600)
    assert not row["passed"]
    assert "no-such/page" in row["last line"]
    says = "import os; print('first'); print('last', os.environ['ACTNORM_DEVICE'])"
    monkeypatch.setattr(pages, "VERIFY", (sys.executable, "-c", says))
    assert pages.verify("any", CPU, limit=600) | {"seconds": 0} == {
        "name": "any",
        "passed": True,
        "last line": "last cpu",
        "seconds": 0,
    }
    monkeypatch.setattr(pages, "VERIFY", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert pages.verify("any", CPU, limit=0.1) is None
    assert "zero-centering/sign-coherence" in pages.pages()


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices made in Python",
)
def test_no_tensor_is_left_behind_on_a_bare_machine_with_a_card(tmp_path):
    # Not the probe: it passes over tensors that compute in Python, as the pretend card's do.
    chosen = (
        "^(streams|training: (mlp, sgd|conv|two)"
        "|gradients:.*mlp|activations: float64|theory|bfloat16|ACTNORM|torch.set|data on|a network)"
    )
    out = tmp_path / "card.json"
    command = [sys.executable, ROOT / "tests" / "card.py", "--brief", "--out", out]
    done = subprocess.run(
        [*command, "--only", chosen],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.exists(), done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["stood in for"] == ["IPython", "altair", "ipywidgets", "matplotlib", "seaborn"]
    assert len(found["checks"]) > 15
    failed = {check["name"]: check.get("error") for check in found["checks"] if not check["passed"]}
    assert failed == {}
