"""What a graphics card changes: nothing, and how fast. ``python -m benchmarks.gpu --device cuda``.

Made for a bare machine: Python and a CUDA build of torch, perhaps no network. Packages that only
draw and present are stood in for where they are missing, and `MISSING` names them.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

PRESENTATION = ("IPython.display", "altair", "ipywidgets", "matplotlib.pyplot", "seaborn")


class _Absent(ModuleType):
    """A module that is not there; whatever is asked of it does nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__, self.__path__ = ModuleSpec(name, None), []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def stand_in(names: tuple[str, ...]) -> list[str]:
    """Put a stand-in where a module cannot be imported, and return the names of those."""
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
            for each in (name.partition(".")[0], name):
                if sys.modules.get(each) is None:
                    sys.modules[each] = _Absent(each)
    return missing


MISSING = stand_in(PRESENTATION)
