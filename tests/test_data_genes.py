"""Measured genes: what the table holds, and that tuning never sees what judges."""

import numpy as np
import pandas as pd
import pytest

import actnorm as an

STRAINS = {22, 60, 124, 260, 1220, 1740}


@pytest.fixture
def pools():
    return {name: an.data.lac_induction(name) for name in ("tuning", "judging")}


def test_the_two_pools_share_no_plate_and_hold_all(pools):
    plates = {name: set(rows.plate) for name, rows in pools.items()}
    assert not plates["tuning"] & plates["judging"]
    assert {name: len(each) for name, each in plates.items()} == {"tuning": 11, "judging": 19}
    assert sum(map(len, pools.values())) == 2142  # as the authors' own table


def test_a_plate_is_one_operator_and_its_six_strains(pools):
    for rows in pools.values():
        for _, plate in rows.groupby("plate"):
            assert plate.operator.nunique() == plate.energy.nunique() == 1
            assert set(plate.repressors) == STRAINS
            assert len(plate) == 6 * plate.iptg.nunique()
        assert rows.notna().all(axis=None)


def test_published_constants_predict_the_table(pools):
    """The variance that the authors' model explains: a check of the copy, cell by cell."""
    rows = an.data.lac_induction()
    grip = (1 + rows.iptg / 0.53) / (1 + rows.iptg / 139)
    free = 1 / (1 + np.exp(-4.5) * grip**2)
    predicted = 1 / (1 + rows.repressors / 4.6e6 * free * np.exp(-rows.energy))
    rest = (rows.fold_change - predicted).var() / rows.fold_change.var()
    assert rest < 0.06


def test_the_table_is_the_copy_that_was_compared_with_its_source(pools):
    """Sums of a second transcription of the plates' own files, in ten-thousandths."""
    rows = pd.concat(pools.values())
    total = (rows.fold_change * 1e4).round().astype(int).groupby(rows.operator).sum()
    assert total.to_dict() == {"O1": 2556656, "O2": 3731197, "O3": 4825462}


def test_a_rehearsal_sees_the_tuning_pool_only(pools, monkeypatch):
    monkeypatch.setenv("ACTNORM_POOL", "tuning")
    for name in pools:
        assert set(an.data.lac_induction(name).plate) == set(pools["tuning"].plate)


def test_other_pools_are_refused_by_name():
    with pytest.raises(ValueError, match="pool must be one of judging, tuning, not 'test'"):
        an.data.lac_induction("test")
