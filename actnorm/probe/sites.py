"""What has been measured: a site for each call, wherever in a pass it comes."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import groupby
from typing import Any

import torch

from actnorm.probe.apart import Levels, unseen
from actnorm.probe.calls import Call
from actnorm.probe.standing import Chunk
from actnorm.probe.sums import Sums

Units = dict[str, Any]


class Part:
    """What one chunk of replicas brings to a site: sums of its input, output and gradients."""

    def __init__(self, levels: Levels, rectifies: bool) -> None:
        self.sums: dict[str | int, tuple[Levels, Sums]] = {}
        self.input = self._of("input", levels, self.output(levels) if rectifies else None)

    def output(self, levels: Levels) -> Sums:
        """Return the sums of what leaves, whose replicas need not be those of what enters."""
        return self._of("output", levels)

    def gradient(self, levels: Levels, rank: int) -> Sums:
        """Return the sums of gradients of one rank."""
        return self._of(rank, levels)

    def _of(self, name: str | int, levels: Levels, rectified: Sums | None = None) -> Sums:
        if name not in self.sums:
            self.sums[name] = levels, Sums(len(levels), rectified)
        known, sums = self.sums[name]
        if known != levels:
            raise ValueError(f"replicas on the levels {levels}, {known} before")
        return sums

    def units(self) -> dict[str, tuple[Levels, Units]]:
        """Return the statistics of each that was seen; of gradients, those of the lowest rank."""
        if self.input.waiting:
            self.input.flush()  # which may add to the output
        rank = min((name for name in self.sums if isinstance(name, int)), default=None)
        names = {"input": "input", "output": "output", "gradient": rank}
        seen = {part: self.sums[name] for part, name in names.items() if name in self.sums}
        return {part: (levels, sums.units()) for part, (levels, sums) in seen.items() if sums}


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
        self.lock = threading.RLock()
        self.sites: dict[tuple, Site] = {}
        self._parts: dict[tuple, Part] = {}
        self.missed: Counter[str] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        self.units()
        return {"sites": self.sites, "missed": self.missed, "_parts": self._parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()
        self.__dict__.update(state)

    def miss(self, path: str, what: str) -> None:
        """Count a call that was not measured."""
        with self.lock:
            self.missed[f"{path or '(root)'}: {what}"] += 1

    def part(self, key: tuple, chunk: tuple[Chunk, ...], call: Call) -> Part:
        """Return where to add what one chunk of replicas brings.

        The key tells sites apart: path, the call's number in its pass, its name, whether it is a
        function, device, units, sizes and levels of replicas.
        """
        if (part := self._parts.get((key, chunk))) is None:
            *whole, sizes, levels = key
            chunked = {level for level, _ in chunk}
            sizes = [None if at in chunked else n for n, at in zip(sizes, levels, strict=True)]
            site = self._site((*whole, tuple(sizes), levels, *chunked), call)
            part = self._parts[key, chunk] = site.parts.setdefault(
                chunk, Part(levels, call.rectifies)
            )
        return part

    def find(self, key: tuple, chunk: tuple[Chunk, ...]) -> Part | None:
        """Return what a call brought that runs again, None where no such call has run."""
        return self._parts.get((key, chunk))

    def _site(self, key: tuple, call: Call) -> Site:
        if key not in self.sites:
            path, number, kind, _, device, units, sizes, *_ = key
            name = (path or "(root)") + (f" #{number}" if number > 1 else "")
            if name in {site.name for site in self.sites.values()}:  # but of another kind or shape
                name += f" {kind} {[*sizes, units]} {device}"
            self.sites[key] = Site(name, call)
        return self.sites[key]

    @unseen
    def units(self) -> dict[str, tuple[Site, dict[str, Units]]]:
        """Return each site that was measured and its statistics, by name."""
        with self.lock:
            found = {site.name: (site, site.units()) for site in self.sites.values()}
            return {name: item for name, item in found.items() if "input" in item[1]}
