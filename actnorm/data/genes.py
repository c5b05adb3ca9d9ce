"""Measured genes: a promoter's response to its repressor and to the repressor's inducer."""

from __future__ import annotations

import pandas as pd

from actnorm import environment
from actnorm.data.bundled import table

ENERGIES = {"O1": -15.3, "O2": -13.9, "O3": -9.7}  # of repressor and operator, in k_B T


def lac_induction(pool: str = "judging") -> pd.DataFrame:
    """Return the fold change of lac promoters: 18 strains, three operators by six repressor counts.

    A plate is one experimenter's measurement on one day of the six strains of one operator. The
    30 plates are cut once into two pools: ``tuning`` (every third of an operator's, in order of
    date: 11), on which fits and figures are tried, and ``judging`` (19). In a rehearsal
    (``ACTNORM_POOL=tuning``) both names stand for the tuning pool.

    Parameters
    ----------
    pool
        ``judging`` or ``tuning``.

    Returns
    -------
    A row for each plate, strain and concentration: ``plate``, ``operator``, its ``energy`` of
    binding (in k_B T; H. Garcia and R. Phillips, 2011), ``repressors`` (mean dimers in a cell),
    ``iptg`` (the inducer, in µM) and ``fold_change``: expression over that without repressors.

    Notes
    -----
    M. Razo-Mejia et al. (2018), Tuning transcriptional regulation through signaling, Cell Systems
    6, 456-469; MIT license. What was left out stands beside the table.
    """
    pool = environment.pool(pool)
    wide = table("lac_induction.csv", dtype={"date": str})
    wide["plate"] = wide["date"] + " " + wide["user"]
    plates = wide[["operator", "plate"]].drop_duplicates()
    tuning = plates.groupby("operator").cumcount() % 3 == 0
    kept = plates[tuning if pool == "tuning" else ~tuning]
    long = wide.merge(kept).melt(
        ["operator", "plate", "iptg_uM"],
        [name for name in wide.columns if name.isdecimal()],
        var_name="repressors",
        value_name="fold_change",
    )
    long["plate"] = long["operator"] + " " + long["plate"]
    long["repressors"] = long["repressors"].astype(int)
    long["energy"] = long["operator"].map(ENERGIES)
    long = long.rename(columns={"iptg_uM": "iptg"})
    long = long.sort_values(["plate", "repressors", "iptg"], ignore_index=True)
    return long[["plate", "operator", "energy", "repressors", "iptg", "fold_change"]]
