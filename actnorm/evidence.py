"""Claims, effects with intervals, and verdicts that follow from them by one rule."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

from actnorm import cards, streams

PACKAGE = Path(__file__).parent
MIME = "application/vnd.actnorm.evidence+json"
LEVEL = 0.99
ROLES = ("core", "scope", "control", "identity")
KINDS = ("greater", "equal", "bound")
NOT_MEASURED = "not yet measured"
REGISTERED = ("revision", "kind", "metric", "arms", "margin")  # what a record was judged by


# Effects -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
    """An estimate with its interval, and the per-replica values that both come from."""

    estimate: float
    low: float
    high: float
    level: float
    n: int
    method: str
    unit: str
    values: Mapping[str, tuple[float, ...]] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]{self.unit}"

    def p_value(self, null: float) -> float:
        """Return one minus the level at which the interval just reaches ``null``."""
        if self.low == self.high:
            return float(self.estimate == null)

        def overlap(log_p: float) -> float:
            _, low, high = METHODS[self.method](self.values, math.exp(log_p))
            return null - low if null < self.estimate else high - null

        least, most = math.log(1e-300), -1e-12
        if overlap(least) <= 0:
            return 0.0
        return math.exp(optimize.brentq(overlap, least, most)) if overlap(most) < 0 else 1.0


def _t_interval(sample: np.ndarray, alpha: float) -> tuple[float, float, float]:
    mean = float(sample.mean())
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    half = error * float(stats.t.isf(alpha / 2, len(sample) - 1))
    return mean, mean - half, mean + half


def _paired(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    return _t_interval(np.subtract(values["a"], values["b"]), alpha)


def _mean(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    return _t_interval(np.asarray(values["x"]), alpha)


def _ratio(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    logs = np.log(values["a"]) - np.log(values["b"])
    with np.errstate(over="ignore"):
        estimate, low, high = np.exp(_t_interval(logs, alpha)).tolist()
    return estimate, low, high


def _deviation(values: Mapping[str, Sequence[float]], alpha: float) -> tuple[float, float, float]:
    estimate, low, high = _t_interval(np.subtract(values["x"], values["exact"]), alpha)
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(estimate), nearest, max(abs(low), abs(high))


METHODS = {
    "paired difference": _paired,
    "mean": _mean,
    "ratio": _ratio,
    "deviation": _deviation,
}


def _effect(method: str, unit: str, level: float, **arms: Any) -> Effect:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    values = {}
    for name, arm in arms.items():
        array = np.asarray(arm, dtype=float)
        if array.ndim != 1 or len(array) < 2:
            raise ValueError(
                f"{name} must hold one value for each of at least 2 replicas, not shape"
                f" {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite; {(~np.isfinite(array)).sum()} values are not")
        values[name] = tuple(array.tolist())
    if len({len(arm) for arm in values.values()}) != 1:
        lengths = {name: len(arm) for name, arm in values.items()}
        raise ValueError(f"arms must have the same replicas, not {lengths}")
    n = len(next(iter(values.values())))
    return Effect(*METHODS[method](values, 1 - level), level, n, method, unit, values)


def paired_effect(a: Any, b: Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return the mean of a - b over replicas (shape ``(replicas,)`` each), with a t interval."""
    return _effect("paired difference", unit, level, a=a, b=b)


def mean_effect(x: Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return the mean of x, shape ``(replicas,)``, with a t interval."""
    return _effect("mean", unit, level, x=x)


def ratio_effect(a: Any, b: Any, *, unit: str = "×", level: float = LEVEL) -> Effect:
    """Return the geometric mean of a / b over replicas, with a t interval on logarithms."""
    for name, arm in (("a", a), ("b", b)):
        if not (np.asarray(arm, dtype=float) > 0).all():
            raise ValueError(f"{name} must be positive: a ratio is judged on logarithms")
    return _effect("ratio", unit, level, a=a, b=b)


def deviation(x: Any, exact: float | Any, *, unit: str = "", level: float = LEVEL) -> Effect:
    """Return how far the mean of x lies from an exact value, and the interval of that distance.

    Parameters
    ----------
    x
        Measurements, shape ``(replicas,)``.
    exact
        One number, or one for each replica.
    """
    return _effect("deviation", unit, level, x=x, exact=np.broadcast_to(exact, np.shape(x)))


# The registry ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One assertion of a claim, and once its page is written, how it is judged."""

    name: str
    asserts: str
    role: str = "core"
    page: str = ""
    kind: str | None = None
    metric: str = ""
    arms: tuple[str, ...] = ()
    margin: float | None = None
    why: str = ""
    replicas: int | None = None
    revision: int = 1
    regime: str = ""
    side: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}, not {self.role!r}")
        if self.kind is None:
            return
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.margin is None or not self.margin >= 0:
            raise ValueError(f"margin of part {self.name} must be at least 0, not {self.margin}")

    @property
    def registered(self) -> bool:
        """Whether metric, arms and margin stand, so that the part can be judged."""
        return self.kind is not None

    def outcome(self, effect: Effect | None) -> str:
        """Return ``holds``, ``fails: …``, ``undecided`` or ``not yet measured``.

        The interval decides: *holds* when it lies wholly where the assertion says, *fails* when
        wholly outside. The margin of a ratio is a factor, and its mirror is one over it.
        """
        if effect is None:
            return NOT_MEASURED
        if not self.registered:
            raise ValueError(f"part {self.name} has no registered kind and margin yet")
        low, high, margin = effect.low, effect.high, self.margin
        if effect.method == "ratio":
            if margin < 1:
                raise ValueError(f"the margin of a ratio must be at least 1, not {margin}")
            low, high, margin = math.log(low), math.log(high), math.log(margin)
        inside = -margin < low and high < margin
        if self.kind == "greater":
            if low > margin:
                return "holds"
            if high < margin:
                return "fails: " + (
                    "negligible" if inside else "reversed" if high < -margin else "not greater"
                )
        elif self.kind == "equal":
            if inside:
                return "holds"
            if low > margin or high < -margin:
                return "fails: different"
        elif high < margin:
            return "holds"
        elif low > margin:
            return "fails: beyond the bound"
        return "undecided"


@dataclass(frozen=True)
class Claim:
    """A statement to test, in parts. Readers may make and judge their own."""

    id: str
    statement: str
    parts: tuple[Part, ...]
    title: str = ""
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) != len(names):
            raise ValueError(f"parts of claim {self.id} must have different names, not {names}")

    def part(self, name: str) -> Part:
        """Return one part by name."""
        for part in self.parts:
            if part.name == name:
                return part
        known = ", ".join(part.name for part in self.parts)
        raise ValueError(f"claim {self.id} has no part {name!r}; it has {known}")

    def recorded(self, name: str) -> Effect | None:
        """Return a part's recorded effect, rebuilt from its per-replica values."""
        part = self.part(name)
        entry = records().get(part.page, {}).get("claims", {}).get(self.id, {}).get(name)
        if entry is None or not part.registered or entry["revision"] != part.revision:
            return None
        return effect_from(entry)

    @property
    def verdict(self) -> str:
        """The verdict on the recorded evidence."""
        return verdict(self.parts, {part.name: self.recorded(part.name) for part in self.parts})

    def judge(self, **effects: Effect) -> Judgement:
        """Judge a page's parts by name, live beside recorded.

        Raises
        ------
        ValueError
            For a part that the claim lacks, or a registered part of the same page left out.
        TypeError
            For anything that is not an `Effect`.
        """
        if not effects:
            raise ValueError(f"judge needs the effect of at least one part of claim {self.id}")
        for name, effect in effects.items():
            self.part(name)
            if not isinstance(effect, Effect):
                raise TypeError(f"{name} must be an Effect, not {type(effect).__name__}")
        pages = {self.part(name).page for name in effects}
        missing = [
            part.name
            for part in self.parts
            if part.page in pages and part.registered and part.name not in effects
        ]
        if missing:
            raise ValueError(f"judge also needs {', '.join(missing)}: registered on this page")
        return Judgement(self, effects, min(pages))

    def _repr_html_(self) -> str:
        return cards.claim_card(self)

    def __str__(self) -> str:
        return f"Claim {self.id}: {self.statement} [{self.verdict}]"


@dataclass(frozen=True)
class Judgement:
    """The live outcome of a page's parts, shown beside the recorded one."""

    claim: Claim
    effects: Mapping[str, Effect]
    page: str

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome of each part, by name."""
        return {name: self.claim.part(name).outcome(e) for name, e in self.effects.items()}

    def evidence(self) -> dict[str, Any]:
        """Return the machine-readable record of this run."""
        return {
            "claim": self.claim.id,
            "page": self.page,
            "seed": streams.seed(),
            "replica_steps": streams.SPENT["replica-steps"],
            "parts": {
                name: {
                    "revision": self.claim.part(name).revision,
                    "outcome": self.outcomes[name],
                    **entry_of(effect),
                }
                for name, effect in self.effects.items()
            },
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            "text/plain": "\n".join(
                f"{name}: {self.effects[name]}: {outcome}"
                for name, outcome in self.outcomes.items()
            ),
            "text/html": cards.judgement_table(self),
            MIME: self.evidence(),
        }


def verdict(parts: Sequence[Part], effects: Mapping[str, Effect | None]) -> str:
    """Return a claim's verdict from the effects of its parts; only core parts decide.

    A pair of scope parts narrows it: *holds only when R* where one holds inside the regime R and
    another fails outside it, unless some core parts hold and others fail, which no regime explains.
    """
    outcomes = {part.name: part.outcome(effects.get(part.name)) for part in parts}
    core = [outcomes[part.name] for part in parts if part.role == "core"]
    if not core or NOT_MEASURED in core:
        return NOT_MEASURED
    if "undecided" in core:
        return "undecided"
    held = core.count("holds")
    if 0 < held < len(core):
        return "holds in part"
    for part in parts:
        if part.role == "scope" and part.side == "inside" and outcomes[part.name] == "holds":
            for other in parts:
                if (other.regime, other.side) == (part.regime, "outside") and outcomes[
                    other.name
                ].startswith("fails"):
                    return f"holds only when {part.regime}"
    return "holds" if held else "does not hold"


def entry_of(effect: Effect) -> dict[str, Any]:
    """Return what a record keeps of an effect: how it was computed, and from which values."""
    return {
        "method": effect.method,
        "unit": effect.unit,
        "level": effect.level,
        "values": {name: list(arm) for name, arm in effect.values.items()},
    }


def effect_from(entry: Mapping[str, Any]) -> Effect:
    """Return the effect that a record's entry stands for, computed anew from its values."""
    return _effect(entry["method"], entry["unit"], entry["level"], **entry["values"])


def contradiction(part: Part, live: Effect, recorded: Effect, comparisons: int = 1) -> str | None:
    """Return in what a re-run contradicts the record, or None.

    It does when *holds* turns into *fails* or back, or when the two effects differ at a
    family-wise 1 % over ``comparisons`` parts (Welch's t on the scale of the interval).
    """
    before, after = part.outcome(recorded), part.outcome(live)
    if {before.split(":")[0], after.split(":")[0]} == {"holds", "fails"}:
        return f"{part.name}: recorded {before}, now {after}"
    scale = math.log if live.method == "ratio" else float
    centres = [scale(e.estimate) for e in (live, recorded)]
    errors = [
        (scale(e.high) - scale(e.low)) / 2 / stats.t.isf((1 - e.level) / 2, e.n - 1)
        for e in (live, recorded)
    ]
    gap = abs(centres[0] - centres[1])
    spread = math.hypot(*errors)
    if gap <= 1e-9 * max(map(abs, centres)) + 1e-12:
        return None
    p = 2 * stats.t.sf(gap / spread, min(live.n, recorded.n) - 1) if spread else 0.0
    if p < 0.01 / comparisons:
        return f"{part.name}: recorded {recorded}, now {live} (p = {p:.1g})"
    return None


@lru_cache
def registry() -> dict[str, Claim]:
    """Return every registered claim by problem id."""
    table = tomllib.loads((PACKAGE / "registry.toml").read_text(encoding="utf-8"))
    claims = {}
    for entry in table["claim"]:
        parts = []
        for row in entry.get("part", []):
            row["arms"] = tuple(row.get("arms", ()))
            parts.append(Part(**row))
        claims[entry["id"]] = Claim(
            entry["id"], entry["statement"], tuple(parts), entry["title"], tuple(entry["sources"])
        )
    return claims


@lru_cache
def sources() -> dict[str, str]:
    """Return the titles of the source documents by key."""
    table = tomllib.loads((PACKAGE / "registry.toml").read_text(encoding="utf-8"))
    return {source["key"]: source["title"] for source in table["source"]}


def claim(problem_id: str) -> Claim:
    """Return the registered claim of one problem id, such as ``"3174499"``."""
    try:
        return registry()[str(problem_id)]
    except KeyError:
        raise KeyError(
            f"no claim {problem_id!r}; the registry holds {', '.join(registry())}"
        ) from None


@lru_cache
def records() -> dict[str, dict[str, Any]]:
    """Return every record by page, as `actnorm record` wrote it."""
    root = PACKAGE / "records"
    return {
        path.relative_to(root).with_suffix("").as_posix(): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(root.glob("**/*.json"))
    }


def digest(record: Mapping[str, Any]) -> str:
    """Return the fingerprint of a record's content, which an edit by hand would break."""
    content = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Return p-values adjusted for their number (Holm, 1979)."""
    adjusted, running = {}, 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = running
    return adjusted


def ledger() -> list[dict[str, Any]]:
    """Return every claim with its verdict and its parts' recorded effects, in registry order."""
    rows, p_values = [], {}
    for each in registry().values():
        parts = []
        for part in each.parts:
            effect = each.recorded(part.name)
            parts.append(
                {
                    "name": part.name,
                    "role": part.role,
                    "asserts": part.asserts,
                    "outcome": part.outcome(effect),
                    "estimate": effect and effect.estimate,
                    "low": effect and effect.low,
                    "high": effect and effect.high,
                    "unit": effect and effect.unit,
                    "method": effect and effect.method,
                    "n": effect and effect.n,
                    "margin": part.margin,
                    "page": part.page,
                }
            )
            if effect and part.role in ("core", "scope"):
                edges = [part.margin]
                if part.kind == "equal":
                    edges.append(1 / part.margin if effect.method == "ratio" else -part.margin)
                p_values[each.id, part.name] = max(effect.p_value(edge) for edge in edges)
        rows.append(
            {
                "problem_id": each.id,
                "claim": each.title,
                "verdict": each.verdict,
                "sources": list(each.sources),
                "parts": parts,
            }
        )
    adjusted = holm(p_values)
    for row in rows:
        for entry in row["parts"]:
            entry["p_holm"] = adjusted.get((row["problem_id"], entry["name"]))
    return rows
