"""A part: one assertion of a claim, how it is judged, and the outcome for an effect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from actnorm.evidence.effects import Effect, log

ROLES = ("core", "scope", "control", "identity")
KINDS = ("greater", "equal", "bound")
NOT_MEASURED = "not yet measured"
REGISTERED = ("revision", "kind", "metric", "arms", "margin")  # what a record was judged by


def word(outcome: str) -> str:
    """Return the first word of an outcome: holds, fails, undecided, or not yet measured."""
    return outcome.split(":")[0]


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
        wholly outside. The margin of a ratio is a factor, and its mirror is one over it. Where
        the sample is skewed, the bootstrap-t interval has to agree.
        """
        if effect is None:
            return NOT_MEASURED
        if not self.registered:
            raise ValueError(f"part {self.name} has no registered kind and margin yet")
        ratio = effect.method == "ratio"
        outcome = self._of(effect.low, effect.high, ratio)
        for other in effect.beside:
            if other.decides and word(self._of(other.low, other.high, ratio)) != word(outcome):
                return "undecided"
        return outcome

    def beside(self, effect: Effect) -> dict[str, str]:
        """Return what each interval that stands beside the effect's own would say, by name."""
        ratio = effect.method == "ratio"
        return {other.name: self._of(other.low, other.high, ratio) for other in effect.beside}

    def tolerance(self, ratio: bool) -> float:
        """Return a hundredth of the margin, on the interval's scale: less is no difference."""
        return 0.01 * (math.log(self.margin) if ratio else self.margin)

    def varies(self, effect: Effect) -> bool:
        """Return whether replicas differ by more than what counts as no difference."""
        spread = float(np.std(effect.sample))
        return spread > self.tolerance(effect.method == "ratio")

    def _of(self, low: float, high: float, ratio: bool) -> str:
        """The outcome of one interval."""
        margin = self.margin
        if ratio:
            if margin < 1:
                raise ValueError(f"the margin of a ratio must be at least 1, not {margin}")
            low, high, margin = log(low), log(high), math.log(margin)
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
