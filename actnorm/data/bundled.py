"""Tables that come with the package; each one's source, license and cuts stand beside it."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pandas as pd


def table(name: str, **options: Any) -> pd.DataFrame:
    """Read a table of ``data/tables`` by pandas, which is given the options."""
    compression = "gzip" if name.endswith(".gz") else None
    with (resources.files("actnorm.data") / "tables" / name).open("rb") as file:
        return pd.read_csv(file, compression=compression, **options)
