"""Measured log ratios of gene expression, from microarrays."""

from __future__ import annotations

import pandas as pd

from actnorm import environment
from actnorm.data.bundled import table


def nci60(pool: str = "judging") -> pd.DataFrame:
    """Return log ratios of gene expression in 60 cancer cell lines, by two-color microarray.

    Each value compares a line with a reference that all arrays share. The 759 genes are cut once
    into two pools: ``tuning`` (every third: 253), on which figures and margins are tried, and
    ``judging`` (506). In a rehearsal (``ACTNORM_POOL=tuning``) both names stand for the tuning
    pool. The lines are the same in both.

    Parameters
    ----------
    pool
        ``judging`` or ``tuning``.

    Returns
    -------
    A row for each of 64 arrays: its ``type`` of cancer, and a column of log ratios for each gene.
    Four arrays repeat two of the lines; their type ends in ``-repro``. Each gene has median zero
    over the arrays. The base of the logs is not stated; two is customary.

    Notes
    -----
    D. Ross et al. (2000), Systematic variation in gene expression patterns in human cancer cell
    lines, Nature Genetics 24, 227-235; as distributed with ISLP (BSD). What was left out stands
    beside the table.
    """
    pool = environment.pool(pool)
    arrays = table("nci60.csv.gz")
    genes = arrays.columns[1:]
    tuning = [gene for k, gene in enumerate(genes) if k % 3 == 0]
    kept = tuning if pool == "tuning" else genes.difference(tuning, sort=False)
    return pd.concat([arrays["label"].rename("type"), arrays[kept] / 100], axis=1)
