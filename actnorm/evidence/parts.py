"""A part: one assertion of a claim, how it is judged, and the outcome for an effect."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from actnorm.evidence.effects import Effect, log

ROLES = ("core", "scope", "control", "identity")
KINDS = ("greater", "equal", "bound")
SIDES = ("inside", "outside")
NOT_MEASURED = "not yet measured"
# What a record was judged by: a change of any of these takes a new revision.
REGISTERED = (
    *("revision", "kind", "metric", "arms", "margin"),
    *("replicas", "role", "regime", "side", "looks"),
)


def word(outcome: str) -> str:
    """Return the first word of an outcome: holds, fails, undecided, or not yet measured."""
    return outcome.split(":")[0]


@dataclass(frozen=True)
class Part:
    """One assertion of a claim, and once its page is written, how it is judged.

    Parameters
    ----------
    name, asserts
        The part's name, and what the source asserts.
    role
        ``core`` decides the claim; ``scope``, ``control`` and ``identity`` do not.
    page
        The page that measures it.
    kind
        ``greater`` (the effect exceeds the margin), ``equal`` (it stays within the margin on
        both sides) or ``bound`` (it stays under the margin).
    metric, arms, margin, why
        What is measured, on which arms, and the margin with its reason in the reader's units. The
        margin of a ratio is a factor.
    quantity
        The row of the table of margins that gives margin and reason.
    replicas, looks
        How many replicas judge, and how often they are looked at: two looks judge at half the
        error each.
    revision
        Raised when anything that a record was judged by changes.
    regime, side
        A regime that the claim may be confined to, and whether this part lies inside of it.
    overlap
        Test over training size, where replicas cut one data set anew and their splits overlap.
    seedless
        Whether it rests on measured data alone, so that every seed gives the same values.
    primary
        Whether the source asserts this first: one core part of a claim.
    forecast
        What was expected; it decides nothing.
    """

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
    looks: int = 1
    quantity: str = ""
    overlap: float | None = None
    seedless: bool = False
    primary: bool = False
    forecast: str = ""

    def __post_init__(self) -> None:
        _one_of("role", self.role, ROLES)
        _one_of("looks", self.looks, (1, 2))
        if self.primary and self.role != "core":
            raise ValueError(f"a primary part must be core; {self.name} is {self.role}")
        if self.regime or self.side:
            _one_of("side", self.side, SIDES)
            if not self.regime:
                raise ValueError(f"part {self.name} lies {self.side} of a regime: name it")
        if self.kind is None:
            return
        _one_of("kind", self.kind, KINDS)
        if self.margin is None or not self.margin >= 0:
            raise ValueError(f"margin of part {self.name} must be at least 0, not {self.margin}")

    @property
    def registered(self) -> bool:
        """Whether metric, arms and margin stand, so that the part can be judged."""
        return self.kind is not None

    def judged(self, effect: Effect) -> Effect:
        """Return an effect with the interval that judges it, after two looks a wider one, and
        with what its replicas' splits share.
        """
        shown = effect if self.looks == 1 else effect.at(1 - (1 - effect.level) / 2)
        return shown if self.overlap is None else replace(shown, overlap=self.overlap)

    def outcome(self, effect: Effect | None) -> str:
        """Return ``holds``, ``fails: …``, ``undecided`` or ``not yet measured``.

        The interval decides: *holds* when it lies wholly where the assertion says, *fails* when
        wholly outside. The margin of a ratio is a factor, and its mirror is one over it. Where
        the sample is skewed, the bootstrap-t interval has to agree.
        """
        if effect is None:
            return NOT_MEASURED
        if not self.registered:
            raise ValueError(f"part {self.name} has no registered kind and margin yet")
        effect = self.judged(effect)
        outcome = self._of(effect.low, effect.high, effect)
        says = [self._of(o.low, o.high, effect) for o in effect.beside if o.decides]
        if all(word(other) == word(outcome) for other in says) and outcome != "undecided":
            return outcome
        return "undecided" if self.looks == 1 else self._at_the_margin(effect)

    def beside(self, effect: Effect) -> dict[str, str]:
        """Return what each interval that stands beside the effect's own would say, by name."""
        effect = self.judged(effect)
        return {other.name: self._of(other.low, other.high, effect) for other in effect.beside}

    def tolerance(self, ratio: bool) -> float:
        """Return a hundredth of the margin, on the interval's scale: less is no difference."""
        return 0.01 * (math.log(self.margin) if ratio else self.margin)

    def varies(self, effect: Effect) -> bool:
        """Return whether replicas differ by more than what counts as no difference."""
        spread = float(np.std(effect.sample))
        return spread > self.tolerance(effect.method == "ratio")

    def _of(self, low: float, high: float, effect: Effect) -> str:
        """The outcome of one interval."""
        margin = self.margin
        if effect.method == "ratio":
            if margin < 1:
                raise ValueError(f"the margin of a ratio must be at least 1, not {margin}")
            low, high, margin = log(low), log(high), math.log(margin)
        if self.kind == "greater":
            if low > margin:
                return "holds"
            return self._failure(low, high, margin, effect) if high < margin else "undecided"
        if self.kind == "equal":
            if -margin < low and high < margin:
                return "holds"
            return "fails: different" if low > margin or high < -margin else "undecided"
        if high < margin:
            return "holds"
        return "fails: beyond the bound" if low > margin else "undecided"

    def _failure(self, low: float, high: float, margin: float, effect: Effect) -> str:
        """In which way an effect is not greater than the margin."""
        if low <= 0 <= high:
            return "fails: no effect shown"
        if abs(low + high) / 2 < margin / 4:
            return f"fails: far smaller than {self.size(effect)}"
        return "fails: reversed" if high < 0 else f"fails: smaller than {self.size(effect)}"

    def size(self, effect: Effect) -> str:
        """Return the margin as text, with the effect's unit."""
        margin = f"{self.margin:,.0f}" if self.margin >= 1000 else f"{self.margin:g}"
        return f"{margin}{effect.unit}"

    def _at_the_margin(self, effect: Effect) -> str:
        """How far from the nearest margin an effect can still be, after two looks."""
        ratio = effect.method == "ratio"
        low, high, margin = effect.low, effect.high, self.margin
        if ratio:
            low, high, margin = log(low), log(high), math.log(margin)
        edges = (margin, -margin) if self.kind == "equal" else (margin,)
        away, edge = min((max(abs(low - e), abs(high - e)), e) for e in edges)
        if ratio:
            away, edge = math.exp(min(away, 700)), math.exp(edge)
        within = f"a factor of {away:.3g}" if ratio else f"{away:.2g}{effect.unit}"
        return f"undecided: at the margin, within {within} of {edge:g}{effect.unit}"


def _one_of(name: str, value: object, known: tuple) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {value!r}")
