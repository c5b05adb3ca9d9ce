"""The command: rehearse, record and verify a page; print the ledger."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from actnorm import cli, evidence, pages, protocol, recording
from actnorm.evidence import RECORD, RERUN

PAGE = "zero-centering/sign-coherence"
CLAIM = evidence.claim("3174499")
RECORDED = {part.name: CLAIM.recorded(part.name) for part in CLAIM.parts if part.page == PAGE}


def notebook(effects, sources=None):
    """What a page leaves that judged these effects."""
    parts = {
        name: evidence.entry_of(e) | {"source": (sources or {}).get(name, RERUN)}
        for name, e in effects.items()
    }
    piece = {"claim": CLAIM.id, "page": PAGE, "replicas": [[8, 71]], "parts": parts}
    return {"cells": [{"outputs": [{"data": {evidence.MIME: piece}}]}]}


def moved(effect, sds):
    """The effect on other replicas: its values in another order, shifted by so many deviations."""
    arms = {name: np.roll(arm, 1) for name, arm in effect.values.items()}
    first = next(iter(arms))
    if effect.method == "ratio":
        arms[first] = arms[first] * np.exp(sds * effect.sample.std())
    else:
        arms[first] = arms[first] + sds * effect.sample.std()
    return evidence.effects.remake(effect.method, effect.unit, effect.level, **arms)


@pytest.fixture
def page(monkeypatch):
    """Answer a run of the page with what a test says, and note the environments."""
    seen, answers = [], []

    def run(page, *, forgiving=False, **variables):
        assert page == PAGE
        assert forgiving == (variables.get("ACTNORM_SEED") != "0")  # what readers run, fails
        seen.append(variables)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer, 12.0

    monkeypatch.setattr(pages, "run", run)
    return seen, answers


# Verify


def test_verify_counts_what_was_re_run_and_what_contradicts(page, capsys):
    seen, answers = page
    again = {name: moved(e, 0.0) for name, e in RECORDED.items()}
    answers.append(notebook(again, {"training_adam": RECORD}))
    assert cli.verify(PAGE, 1001) == 0
    assert seen == [{"ACTNORM_SEED": "1001", "ACTNORM_TIER": "verify"}]
    printed = capsys.readouterr().out
    assert "seed 1001: 13 of 14 parts re-run, none contradicts the record" in printed
    assert "training_adam" in printed
    assert printed.count("not re-run here") == 1
    assert "holds, as recorded" in printed  # two samples, not replicas with themselves
    answers[:] = [notebook(again | {"coherence": moved(RECORDED["coherence"], 3.0)})]
    assert cli.verify(PAGE, 1001, full=True) == 1
    assert seen[-1]["ACTNORM_TIER"] == "full"
    assert "14 of 14 parts re-run, 1 contradicts the record" in capsys.readouterr().out


def test_verify_finds_what_was_looked_up_but_says_re_run(page, capsys):
    _, answers = page
    again = {name: moved(e, 0.0) for name, e in RECORDED.items()}
    answers.append(notebook(again | {"zig_zag": RECORDED["zig_zag"]}))
    assert cli.verify(PAGE, 1001) == 1
    printed = capsys.readouterr().out
    assert "zig_zag" in printed
    assert "ERROR: equals the record bit for bit" in printed
    assert "13 of 14 parts re-run, 1 only said to be, none contradicts the record" in printed
    # the record's own seed gives the record's values, and `cause` is constant on every seed
    answers[:] = [notebook(RECORDED)]
    assert cli.verify(PAGE, 0) == 0
    printed = capsys.readouterr().out
    assert "14 of 14 parts re-run" in printed
    assert "64 of 64 equal" in printed
    assert not CLAIM.part("cause").varies(RECORDED["cause"])


def test_verify_tells_which_rates_would_have_been_chosen(page, capsys):
    _, answers = page
    book = notebook({name: moved(e, 0.0) for name, e in RECORDED.items()})
    for name, own in (("tanh", 0.1), ("sigmoid", 0.2)):
        left = {"name": "tuned", "call": f'[["{name}"], {{}}]'}
        left["result"] = {"rate": 0.2, "chosen": own, "wins": [1.0]}
        output = {"output_type": "display_data", "data": {protocol.MIME: left}}
        book["cells"].append({"outputs": [output]})
    answers.append(book)
    assert cli.verify(PAGE, 1001, full=True) == 0
    printed = capsys.readouterr().out
    assert 'tuned[["tanh"], {}]: tuned here, the rate would be 0.1, not 0.2' in printed
    assert "recorded rates were replayed; tuned here, 1 of 2 are the same" in printed


def test_verify_says_what_no_seed_moves(page, capsys, monkeypatch):
    _, answers = page
    again = {name: moved(e, 0.0) for name, e in RECORDED.items()}
    answers.append(notebook(again | {"zig_zag": RECORDED["zig_zag"]}))
    parts = tuple(replace(part, seedless=part.name == "zig_zag") for part in CLAIM.parts)
    monkeypatch.setattr(evidence, "claim", lambda _: replace(CLAIM, parts=parts))
    assert cli.verify(PAGE, 1001) == 0
    printed = capsys.readouterr().out
    assert "13 of 14 parts re-run, 1 on measured data that no seed moves, none" in printed


def test_verify_tabulates_what_turns_undecided(page, capsys):
    _, answers = page
    e = RECORDED["coherence"]
    wide = evidence.paired_effect(e.estimate + 100 * np.roll(e.sample - e.estimate, 1), [0.0] * 64)
    assert CLAIM.part("coherence").outcome(wide) == "undecided"
    answers.append(notebook({"coherence": wide}))
    assert cli.verify(PAGE, 1001) == 0
    assert "to or from undecided: coherence: holds -> undecided" in capsys.readouterr().out


# Record


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Records go to a folder of the test, from a clean commit."""
    monkeypatch.setattr(evidence, "PACKAGE", tmp_path)
    monkeypatch.setattr(recording, "git", lambda *a: "" if a[0] == "status" else "abc123")
    for variable in list(os.environ):
        if variable.startswith("ACTNORM_"):
            monkeypatch.delenv(variable)
    return tmp_path / "records" / f"{PAGE}.json"


def live(effect, shift=0.0, n=8):
    """The first replicas, each moved by a share of the part's margin."""
    arms = {name: np.array(arm[:n]) for name, arm in effect.values.items()}
    first = next(iter(arms))
    alternate = shift * np.array([1, -1] * (n // 2))
    arms[first] = (
        arms[first] * np.exp(alternate) if effect.method == "ratio" else (arms[first] + alternate)
    )
    return evidence.effects.remake(effect.method, effect.unit, effect.level, **arms)


def test_a_record_knows_what_is_re_run_and_what_rounding_does(page, shelf, capsys):
    seen, answers = page
    few = {name: live(e) for name, e in RECORDED.items()}
    nudged = few | {"zig_zag": live(RECORDED["zig_zag"], 0.002)}  # δ is 0.1
    nudged["flip"] = live(RECORDED["flip"], 0.0019)  # δ is 0.2
    sources = {"training_adam": RECORD}
    answers += [notebook(RECORDED), notebook(few, sources), notebook(nudged, sources)]
    recording.record(PAGE)
    assert seen == [
        {"ACTNORM_TIER": "full"},
        {"ACTNORM_TIER": "live"},
        {"ACTNORM_TIER": "live", "ACTNORM_NUDGE": "1"},
    ]
    record = json.loads(shelf.read_text())
    assert record["digest"] == evidence.digest(record)
    assert record["live_seconds"] == 12.0
    assert record["replicas"] == [[8, 71]]
    parts = record["claims"][CLAIM.id]
    assert {key: parts["flip"][key] for key in ("rerun", "rounding", "pairs")} == {
        "rerun": True,
        "rounding": "exact",
        "pairs": 8,
    }
    assert parts["zig_zag"]["rounding"] == "chaotic"
    assert parts["zig_zag"]["spread"] == pytest.approx(np.std([0.002, -0.002] * 4, ddof=1))
    assert parts["training_adam"]["rerun"] is False
    assert "rounding" not in parts["training_adam"]
    assert set(evidence.REGISTERED) <= set(parts["flip"])
    assert evidence.effect_from(parts["flip"]) == RECORDED["flip"]
    assert "source" not in parts["flip"]
    assert "leaves its record" not in capsys.readouterr().out


def test_a_record_says_where_readers_will_not_find_it_again(page, shelf, capsys):
    _, answers = page
    few = {name: live(e) for name, e in RECORDED.items()}
    few["flip"] = live(RECORDED["flip"], 0.01)
    answers += [notebook(RECORDED), notebook(few)]
    recording.record(PAGE)
    assert "flip: the page as readers run it leaves its record: 0 of 8" in capsys.readouterr().out


def test_a_record_is_kept_where_a_sentence_fails(page, shelf, capsys):
    _, answers = page
    few = notebook({name: live(e) for name, e in RECORDED.items()})
    error = {"output_type": "error", "ename": "AssertionError"}
    error["traceback"] = ["---> 3 assert curves[0] < curves[1]"]
    few["cells"].append({"outputs": [error]})
    answers += [notebook(RECORDED), few]
    recording.record(PAGE)
    said = "the page says what its record does not bear: assert curves[0] < curves[1]"
    assert said in capsys.readouterr().out
    assert shelf.exists()


def test_a_new_record_keeps_what_the_old_one_said(page, shelf, monkeypatch):
    _, answers = page
    old = evidence.records()[PAGE] | {"history": [{"part": "older"}]}
    monkeypatch.setattr(evidence, "records", lambda: {PAGE: old})
    again = RECORDED | {"coherence": moved(RECORDED["coherence"], 1.0)}
    answers += [notebook(again), notebook(RECORDED)]
    recording.record(PAGE)
    first, *kept = json.loads(shelf.read_text())["history"]
    assert first == {"part": "older"}
    assert [entry["part"] for entry in kept] == list(old["claims"][CLAIM.id])
    entry = next(entry for entry in kept if entry["part"] == "coherence")
    assert entry["before"]["estimate"] == RECORDED["coherence"].estimate
    assert entry["after"]["estimate"] == again["coherence"].estimate
    assert (entry["commit"], entry["date"]) == (old["commit"], old["date"])
    assert entry["before"]["margin"] == 0.2


def test_a_record_that_fails_half_way_leaves_the_old_one(page, shelf):
    _, answers = page
    shelf.parent.mkdir(parents=True)
    shelf.write_text("old")
    answers += [notebook(RECORDED), RuntimeError("no live run")]
    with pytest.raises(RuntimeError, match="no live run"):
        recording.record(PAGE)
    assert shelf.read_text() == "old"
    shelf.unlink()
    answers[:] = [notebook(RECORDED), RuntimeError("no live run")]
    with pytest.raises(RuntimeError, match="no live run"):
        recording.record(PAGE)
    assert not shelf.exists()


def test_a_record_insists_on_the_registered_replicas_and_a_plain_environment(
    page, shelf, monkeypatch
):
    _, answers = page
    answers.append(notebook(RECORDED | {"flip": live(RECORDED["flip"])}))
    with pytest.raises(SystemExit, match=r"part flip is registered on .* with 64 replicas"):
        recording.record(PAGE)
    answers[:] = [{"cells": []}]
    with pytest.raises(SystemExit, match="judges no claim"):
        recording.record(PAGE)
    for variable in ("SEED", "REPLICAS", "TIER", "POOL", "NUDGE"):
        with monkeypatch.context() as patch:
            patch.setenv(
                f"ACTNORM_{variable}", {"POOL": "tuning", "TIER": "full"}.get(variable, "7")
            )
            with pytest.raises(SystemExit, match="unset ACTNORM_"):
                recording.record(PAGE)


def test_outside_of_a_repository_record_says_one_sentence(tmp_path):
    code = f"from actnorm import recording; recording.record({PAGE!r})"
    env = {k: v for k, v in os.environ.items() if not k.startswith("ACTNORM_")}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "a record names the commit that it was made from: run this in a git repository"
    )


# Rehearse


def test_a_rehearsal_sees_the_tuning_pool_and_writes_nothing(page, shelf, capsys):
    seen, answers = page
    answers.append(notebook(RECORDED))
    cli.rehearse(PAGE, 1003)
    assert seen == [{"ACTNORM_TIER": "full", "ACTNORM_SEED": "1003", "ACTNORM_POOL": "tuning"}]
    assert not shelf.parent.exists()
    printed = capsys.readouterr().out
    assert "coherence (core)" in printed
    assert "power 1.000 at 64 replicas" in printed
    # eleven core parts on both pages of the claim share one chance in twenty
    core = sum(p.role == "core" for p in CLAIM.parts)
    assert f"{1 - 0.05 / core:.3f} takes" in printed
    with pytest.raises(SystemExit, match="rehearse on 1000 or more, not 7"):
        cli.rehearse(PAGE, 7)


# The ledger, and terminals


def test_the_ledger_prints_on_a_terminal_without_greek():
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from actnorm.cli import main; main()", "ledger"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3174499" in done.stdout


def test_json_has_null_where_an_interval_has_no_end(monkeypatch, capsys):
    row = {"parts": [{"high": np.inf, "low": -1.0}], "estimate": float("nan")}
    monkeypatch.setattr(evidence, "ledger", lambda: [row])
    cli.ledger(as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"parts": [{"high": None, "low": -1.0}], "estimate": None}
    ]
    monkeypatch.undo()
    cli.ledger(as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == 37


# Running a page


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Write a page of these cells, and return its name."""
    import nbformat

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "chapters" / "tiny"
    folder.mkdir(parents=True)

    def write(*cells):
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbformat.write(made, folder / "page.ipynb")
        return "tiny/page"

    return write


def test_a_page_runs_in_its_environment_and_leaves_none_behind(tiny, monkeypatch):
    name = tiny("import os; print(os.environ['ACTNORM_TIER'], os.environ['OMP_NUM_THREADS'])")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    done, seconds = pages.run(name, ACTNORM_TIER="verify")
    assert done["cells"][0]["outputs"][0]["text"].split() == ["verify", "1"]
    assert seconds > 0
    assert "ACTNORM_TIER" not in os.environ
    assert "OMP_NUM_THREADS" not in os.environ
    with pytest.raises(SystemExit, match=r"no notebook .*other\.ipynb here"):
        pages.run("tiny/other")


def test_sentences_of_the_record_may_fail_on_other_seeds_and_nothing_else(tiny):
    name = tiny(
        "x = 1\nif x > 1:\n    %pip install x",
        "assert x == 1\nassert x > 2, 'no'\ny = x + 1",
        "print(y)",
    )
    with pytest.raises(Exception, match="no"):
        pages.run(name)
    done, _ = pages.run(name, forgiving=True)
    assert pages.broken(done) == ["assert x > 2, 'no'"]
    assert done["cells"][-1]["outputs"][0]["text"].strip() == "2"
    with pytest.raises(SystemExit, match="division by zero"):
        pages.run(tiny("1 / 0", "assert True"), forgiving=True)
