"""What tells whether a function is still the one that was recorded, on every Python alike."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def fingerprint(function: Callable[..., Any]) -> str:
    """Return a digest of a function's own lines, less blank lines and lines of comment.

    The syntax tree only says which lines are the function's: how a tree is printed, how source is
    cut into tokens and where `inspect` ends a block differ between versions of Python; text
    doesn't.
    """
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    first = min(each.lineno for each in (node, *node.decorator_list))
    lines = (line.rstrip() for line in source.splitlines()[first - 1 : node.end_lineno])
    kept = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(kept.encode()).hexdigest()[:16]
