"""Sequences of DNA: splice sites whose truth is known, and the motifs of transcription factors."""

from __future__ import annotations

import pandas as pd

from actnorm import environment
from actnorm.data.bundled import table


def splice_sites(pool: str = "judging") -> pd.DataFrame:
    """Return windows of 60 letters of primate DNA around splice sites, and others without.

    No two windows share 20 letters in a row. They are cut once into two pools: ``tuning`` (every
    third of a kind: 899), on which figures and rates are tried, and ``judging`` (1,796). In a
    rehearsal (``ACTNORM_POOL=tuning``) both names stand for the tuning pool.

    Parameters
    ----------
    pool
        ``judging`` or ``tuning``.

    Returns
    -------
    A row for each window: its ``kind`` and its letters, ``window``. In a ``donor`` the intron
    begins with letter 30 (counted from 0), in an ``acceptor`` it ends with letter 29; ``neither``
    has no known site.

    Notes
    -----
    M. Noordewier, G. Towell and J. Shavlik (1991), Training knowledge-based neural networks to
    recognize genes in DNA sequences; UCI data set 69 (CC BY 4.0). What was left out stands beside
    the table.
    """
    pool = environment.pool(pool)
    windows = table("splice_sites.csv.gz")
    tuning = windows.groupby("kind").cumcount() % 3 == 0
    return windows[tuning if pool == "tuning" else ~tuning].reset_index(drop=True)


def motif_counts(name: str) -> pd.DataFrame:
    """Return how often each letter was seen at each position of a transcription factor's motif.

    Parameters
    ----------
    name
        Of the factor, such as ``GATA1`` or ``CTCF``.

    Returns
    -------
    A row for each position, with columns ``A``, ``C``, ``G`` and ``T``.

    Raises
    ------
    KeyError
        Naming the motifs that there are.

    Notes
    -----
    I. Rauluseviciute et al. (2024), JASPAR 2024, Nucleic Acids Research 52, D174-D182 (CC BY 4.0).
    """
    counts = table("jaspar.csv")
    found = counts.loc[counts.name == name].sort_values("position")
    if found.empty:
        raise KeyError(f"no motif {name!r}; there are {', '.join(counts.name.unique())}")
    return found[list("ACGT")].reset_index(drop=True)
