"""Measured log ratios: what the table holds, and that tuning never sees what judges."""

import pandas as pd
import pytest

import actnorm as an


@pytest.fixture
def pools():
    return {name: an.data.nci60(name) for name in ("tuning", "judging")}


def test_the_two_pools_share_no_gene_and_hold_all(pools):
    genes = {name: set(table.columns[1:]) for name, table in pools.items()}
    assert not genes["tuning"] & genes["judging"]
    assert {name: len(each) for name, each in genes.items()} == {"tuning": 253, "judging": 506}


def test_sixty_lines_and_four_arrays_that_repeat_two_of_them(pools):
    for table in pools.values():
        repeats = table.type[table.type.str.endswith("-repro")]
        assert len(table) == 64
        assert sorted(repeats) == ["K562A-repro", "K562B-repro", "MCF7A-repro", "MCF7D-repro"]
        assert table.notna().all(axis=None)


def test_a_repeated_array_is_nearest_to_its_own_line(pools):
    """A check of the copy: rows of the table and their names belong together."""
    table = pd.concat([pools["tuning"], pools["judging"].iloc[:, 1:]], axis=1)
    alike = table.iloc[:, 1:].T.corr()
    for name, own in (("K562", "LEUKEMIA"), ("MCF7", "BREAST")):
        for row in table.index[table.type.str.startswith(name)]:
            nearest = table.type[alike[row].drop(row).nlargest(2).index]
            assert set(nearest) <= {own, *table.type[table.type.str.startswith(name)]}


def test_each_gene_is_centered_at_its_median(pools):
    for table in pools.values():
        assert (table.iloc[:, 1:].median() == 0).all()


def test_the_table_is_the_copy_that_was_taken_from_its_source(pools):
    """Sums of hundredths over the pools, and the largest and least value of each."""
    hundredths = {
        name: (table.iloc[:, 1:] * 100).round().astype(int).to_numpy()
        for name, table in pools.items()
    }
    found = {name: (v.sum(), v.min(), v.max()) for name, v in hundredths.items()}
    assert found == {"tuning": (36189, -552, 694), "judging": (15947, -568, 754)}


def test_a_rehearsal_sees_the_tuning_pool_only(pools, monkeypatch):
    monkeypatch.setenv("ACTNORM_POOL", "tuning")
    for name in pools:
        assert list(an.data.nci60(name)) == list(pools["tuning"])


def test_other_pools_are_refused_by_name():
    with pytest.raises(ValueError, match="pool must be one of judging, tuning, not 'test'"):
        an.data.nci60("test")
