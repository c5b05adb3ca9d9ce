"""Sequences: what the tables hold, and that tuning never sees what judges."""

import numpy as np
import pytest

import actnorm as an


@pytest.fixture
def pools():
    return {name: an.data.splice_sites(name) for name in ("tuning", "judging")}


def test_no_two_windows_share_twenty_letters_in_a_row(pools):
    seen = set()
    for table in pools.values():
        for window in table.window:
            words = {window[k : k + 20] for k in range(41)}
            assert not words & seen
            seen |= words


def test_a_third_of_each_kind_is_for_tuning(pools):
    counts = {name: table.kind.value_counts().to_dict() for name, table in pools.items()}
    assert counts == {
        "tuning": {"neither": 520, "donor": 190, "acceptor": 189},
        "judging": {"neither": 1038, "donor": 380, "acceptor": 378},
    }


def test_introns_begin_with_gt_and_end_with_ag(pools):
    """A check of the copy: letters stand where the description says."""
    for table in pools.values():
        donors, acceptors = (table.window[table.kind == k] for k in ("donor", "acceptor"))
        assert (donors.str[30:32] == "GT").mean() > 0.98
        assert (acceptors.str[28:30] == "AG").mean() > 0.98
        assert (table.window[table.kind == "neither"].str[30:32] == "GT").mean() < 0.15


def test_a_rehearsal_sees_the_tuning_pool_only(pools, monkeypatch):
    monkeypatch.setenv("ACTNORM_POOL", "tuning")
    for name in pools:
        assert an.data.splice_sites(name).window.equals(pools["tuning"].window)


def test_the_information_of_a_motif_is_what_its_counts_say():
    """CTCF has 17.1 bits against uniform letters, half a count added to each cell."""
    counts = an.data.motif_counts("CTCF").to_numpy() + 0.5
    shares = counts / counts.sum(1, keepdims=True)
    assert shares.shape == (19, 4)
    assert np.isclose((shares * np.log2(shares / 0.25)).sum(), 17.098256, atol=1e-6)


def test_other_motifs_are_refused_by_name():
    with pytest.raises(KeyError, match="no motif 'Gata'; there are CTCF, SP1"):
        an.data.motif_counts("Gata")
