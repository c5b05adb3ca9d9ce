"""Contenders take turns; every figure is a ratio within one run, the median over rounds."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

clock = time.process_time  # on one thread a busy machine takes wall time, and little of this


def turns(contenders: dict[str, Callable[[], None]], rounds: int) -> pd.DataFrame:
    """Return the seconds of each contender, one row a round; a first round does not count.

    The order changes from round to round, since each finds the memory as the one before left it.
    """
    rows, order = [], random.Random(0)
    for _ in range(rounds + 1):
        row = {}
        for name, contender in order.sample(list(contenders.items()), len(contenders)):
            start = clock()
            contender()
            row[name] = clock() - start
        rows.append(row)
    return pd.DataFrame(rows[1:], columns=list(contenders))


def ratios(seconds: pd.DataFrame, base: str) -> dict[str, float]:
    """Return each contender's median ratio to the base, taken round by round."""
    return seconds.drop(columns=base).div(seconds[base], axis=0).median().to_dict()


def finish(name: str, measure: Callable[[], list[dict]]) -> None:
    """Measure on one thread, print the rows, and write them to ``benchmarks/results``."""
    torch.set_num_threads(1)
    rows = measure()
    print(pd.DataFrame(rows).round(2).T.to_string(header=False))
    report = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
