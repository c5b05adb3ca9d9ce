"""What the environment asks of a run."""

import pytest
import torch

import actnorm as an
from actnorm import environment


def test_pools_have_a_default_and_no_other_names(monkeypatch):
    assert [environment.pool(name) for name in environment.POOLS] == ["judging", "tuning"]
    monkeypatch.setenv("ACTNORM_POOL", "all")
    with pytest.raises(ValueError, match="ACTNORM_POOL must be one of judging, tuning, not 'all'"):
        an.data.digits()


@pytest.mark.parametrize("standardize", [True, False])
def test_a_rehearsal_never_sees_the_judging_pool(monkeypatch, standardize):
    def rows(pool):
        draw = an.data.digits(pool, standardize=standardize)
        split = draw(torch.Generator().manual_seed(0))
        return torch.cat([split.train[0], split.validation[0], split.test[0]])

    tuning, judging = rows("tuning"), rows("judging")
    assert len(tuning) < len(judging)
    monkeypatch.setenv("ACTNORM_POOL", "tuning")
    assert torch.equal(rows("judging"), tuning)
    assert torch.equal(rows("tuning"), tuning)
    monkeypatch.setenv("ACTNORM_POOL", "judging")
    assert torch.equal(rows("judging"), judging)


@pytest.mark.parametrize(
    ("variable", "value", "foreign"),
    [
        ("SEED", "0", False),
        ("SEED", "00", False),
        ("SEED", "10", True),
        ("REPLICAS", "x1", False),
        ("REPLICAS", "x2", True),
        ("POOL", "judging", False),
        ("POOL", "tuning", True),
        ("TIER", "full", False),
        ("NUDGE", "1", False),
    ],
)
def test_a_run_is_foreign_where_its_replicas_are_not_the_records(
    monkeypatch, variable, value, foreign
):
    monkeypatch.setenv(f"ACTNORM_{variable}", value)
    assert environment.foreign() is foreign
