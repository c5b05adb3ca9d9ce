"""What has been measured: a site for each call, wherever in a pass it comes."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from actnorm.probe.apart import Levels, unseen
from actnorm.probe.calls import Call
from actnorm.probe.standing import Chunk
from actnorm.probe.sums import Sums

Units = dict[str, Any]
Sizes = tuple[int, ...]
CHANGED = "sizes changed"


def sizes_of(x: Tensor, levels: Levels, axis: int) -> Sizes:
    """Return how many replicas there are on each level, and how many units."""
    units = x.shape[axis] if x.ndim > len(levels) else 1
    return (*x.shape[: len(levels)], units) if levels else (units,)


class Part:
    """What one chunk of replicas brings to a site: sums of its input, output and gradients."""

    def __init__(self, levels: Levels, sizes: Sizes, rectifies: bool) -> None:
        self._sums: dict[str | int, tuple[Levels, Sizes, Sums]] = {}
        output = self.of("output", levels, sizes) if rectifies else None
        self.input = Sums(len(levels), output)
        self._sums["input"] = levels, sizes, self.input

    def of(self, name: str | int, levels: Levels, sizes: Sizes) -> Sums | None:
        """Return the sums of the output, or of gradients of a rank, None for sizes that changed.

        Sizes are those of replicas and units; an output's need not be the input's.
        """
        if name not in self._sums:
            self._sums[name] = levels, sizes, Sums(len(levels))
        *known, sums = self._sums[name]
        return sums if known == [levels, sizes] else None

    def units(self) -> dict[str, tuple[Levels, Units]]:
        """Return the statistics of each that was seen; of gradients, those of the lowest rank."""
        if self.input.waiting:
            self.input.flush()  # which may add to the output
        rank = min((name for name in self._sums if isinstance(name, int)), default=None)
        names = {"input": "input", "output": "output", "gradient": rank}
        seen = {part: self._sums[name] for part, name in names.items() if name in self._sums}
        return {part: (levels, sums.units()) for part, (levels, _, sums) in seen.items() if sums}


class Site:
    """One row of the table."""

    def __init__(self, name: str, call: Call) -> None:
        self.name, self.call = name, call
        self.parts: dict[tuple[Chunk, ...], Part] = {}

    def units(self) -> dict[str, Units]:
        """Return the statistics of each part that was seen, of all replicas."""
        found: dict[str, dict[tuple[Chunk, ...], tuple[Levels, Units]]] = {}
        for chunk, part in sorted(self.parts.items()):
            for name, item in part.units().items():
                found.setdefault(name, {})[chunk] = item
        return {name: _join(chunks) for name, chunks in found.items()}


def _join(chunks: dict[tuple[Chunk, ...], tuple[Levels, Units]]) -> Units:
    """Put the replicas of all chunks together, innermost first."""
    while any(chunks):
        joined = {}
        for outer, group in groupby(chunks.items(), lambda item: item[0][:-1]):
            pieces = [(chunk[-1][0], *rest) for chunk, rest in group]
            level, levels, units = pieces[0]
            if level in levels:  # otherwise each chunk has the same values
                axis = levels.index(level)
                units["n"] = min(units["n"] for *_, units in pieces)
                units |= {
                    name: torch.cat([piece[name] for *_, piece in pieces], axis)
                    for name in units
                    if name != "n"
                }
            joined[outer] = levels, units
        chunks = joined
    return next(iter(chunks.values()))[1]


class Record:
    """All sites of a probe, and what could not be measured."""

    def __init__(self) -> None:
        self.lock, self.open = threading.RLock(), False
        self.sites: dict[tuple, Site] = {}
        self.parts: dict[tuple, Part] = {}
        self.missed: Counter[str] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        self.units()
        return {"sites": self.sites, "missed": self.missed, "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()
        self.__dict__.update(state)

    def miss(self, path: str, what: str) -> None:
        """Count a call that was not measured."""
        with self.lock:
            self.missed[f"{path or '(root)'}: {what}"] += 1

    def part(self, key: tuple, call: Call) -> Part | None:
        """Return where to add what a new call brings, None for a chunk whose size has changed.

        The key tells calls apart: path, number in its pass, name, whether it is a function,
        device, levels of replicas, sizes of these and of units, and the chunks that are running.
        """
        *whole, levels, (*sizes, units), running = key
        chunked = {level: size for level, size, _ in running}
        sizes = [chunked.get(at, n) for at, n in zip(levels, sizes, strict=True)]
        site = self._site((*whole, levels, (*sizes, units), *chunked.items()), call)
        if running in site.parts:
            return None
        self.parts[key] = site.parts[running] = Part(levels, key[-2], call.rectifies)
        return self.parts[key]

    def _site(self, key: tuple, call: Call) -> Site:
        if key not in self.sites:
            path, number, kind, _, device, _, sizes, *_ = key
            name = (path or "(root)") + (f" #{number}" if number > 1 else "")
            if name in {site.name for site in self.sites.values()}:  # but of another kind or shape
                name += f" {kind} {list(sizes)}" + (f" on device {device}" if device >= 0 else "")
            self.sites[key] = Site(name, call)
        return self.sites[key]

    @unseen
    def units(self) -> dict[str, tuple[Site, dict[str, Units]]]:
        """Return each site that was measured and its statistics, by name."""
        with self.lock:
            found = {site.name: (site, site.units()) for site in self.sites.values()}
            return {name: item for name, item in found.items() if "input" in item[1]}
