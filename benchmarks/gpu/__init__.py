"""What a graphics card changes: nothing, and how fast. ``python -m benchmarks.gpu --device cuda``.

Made for a bare machine: Python and a CUDA build of torch, perhaps no network. Packages that only
draw and present are stood in for where they are missing, and `MISSING` names them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock


class _StandIn:
    """Finds and loads modules that are not there; whatever is asked of them does nothing."""

    def __init__(self, packages: Iterable[str]) -> None:
        self.packages = set(packages)

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        there = name.partition(".")[0] in self.packages
        return ModuleSpec(name, self, is_package=True) if there else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make the module."""

    def exec_module(self, module: ModuleType) -> None:
        def ask(name: str) -> MagicMock:
            if name.startswith("__"):
                raise AttributeError(name)
            return MagicMock()

        module.__getattr__ = ask


def stand_in(*packages: str) -> list[str]:
    """Stand in for packages that cannot be imported, and return their names."""
    missing = []
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    sys.meta_path.insert(0, _StandIn(missing))
    return missing


MISSING = stand_in("IPython", "altair", "ipywidgets", "matplotlib", "seaborn")
