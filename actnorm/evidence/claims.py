"""Claims in parts, and the judgement of a page's effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actnorm import environment, streams
from actnorm.evidence import cards
from actnorm.evidence.comparison import Comparison, Rounding, compare
from actnorm.evidence.effects import Effect
from actnorm.evidence.parts import Part
from actnorm.evidence.records import MIME, effect_from, entry_of, records
from actnorm.evidence.verdicts import open_parts, primary, verdict


@dataclass(frozen=True)
class Claim:
    """A statement to test, in parts. Readers may make and judge their own.

    On the card of a claim that several pages judge, the parts of `page` come first. `setting` says
    what is compared, tuned and fixed on that page; `titles`, what every page asks.
    """

    id: str
    statement: str
    parts: tuple[Part, ...]
    title: str = ""
    sources: tuple[str, ...] = ()
    page: str = field(default="", compare=False)
    setting: Mapping[str, str] = field(default_factory=dict, compare=False)
    titles: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) != len(names):
            raise ValueError(f"parts of claim {self.id} must have different names, not {names}")
        if len(marked := [part.name for part in self.parts if part.primary]) > 1:
            raise ValueError(f"claim {self.id} has one primary part, not {', '.join(marked)}")

    def part(self, name: str) -> Part:
        """Return one part by name."""
        for part in self.parts:
            if part.name == name:
                return part
        known = ", ".join(part.name for part in self.parts)
        raise ValueError(f"claim {self.id} has no part {name!r}; it has {known}")

    def recorded(self, name: str) -> Effect | None:
        """Return a part's recorded effect, rebuilt from its per-replica values."""
        entry = self._entry(name)
        return effect_from(entry) if entry else None

    def moves(self, name: str) -> Rounding | None:
        """Return what rounding does to a part's replicas, where its record knows."""
        entry = self._entry(name) or {}
        if not entry.get("rounding"):
            return None
        return Rounding(entry["rounding"], entry["spread"], entry["pairs"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """Earlier effects of the parts, as newer records keep them."""
        pages = dict.fromkeys(part.page for part in self.parts)
        kept = [entry for page in pages for entry in records().get(page, {}).get("history", ())]
        return [entry for entry in kept if entry["claim"] == self.id]

    def _entry(self, name: str) -> dict[str, Any] | None:
        part = self.part(name)
        entry = records().get(part.page, {}).get("claims", {}).get(self.id, {}).get(name)
        if entry is None or not part.registered or entry["revision"] != part.revision:
            return None
        return entry

    @property
    def verdict(self) -> str:
        """The verdict on the recorded evidence."""
        return verdict(self.parts, self._effects())

    @property
    def open(self) -> list[str]:
        """Names of the parts that the evidence leaves open and that may turn the verdict."""
        return open_parts(self.parts, self._effects())

    @property
    def primary(self) -> Part | None:
        """The core part that the source asserts first."""
        return primary(self.parts)

    def _effects(self) -> dict[str, Effect | None]:
        return {part.name: self.recorded(part.name) for part in self.parts}

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
        rows = [cards.Row(part, self.recorded(part.name)) for part in self.parts]
        said = self.id, self.statement, self.verdict, rows
        return cards.claim_card(*said, page=self.page, titles=self.titles, history=self.history)

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
        """Outcome of each part, by name; none on fewer replicas than registered."""
        return {name: _outcome(self.claim.part(name), e) for name, e in self.effects.items()}

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """What each part's re-run says of its record, by name."""
        return {
            name: compare(
                self.claim.part(name),
                effect,
                self.claim.recorded(name),
                same=not environment.foreign(),
                moves=self.claim.moves(name),
                comparisons=len(self.effects),
            )
            for name, effect in self.effects.items()
        }

    def evidence(self) -> dict[str, Any]:
        """Return the machine-readable record of this run."""
        return {
            "claim": self.claim.id,
            "page": self.page,
            "seed": streams.seed(),
            "tier": streams.tier(),
            "foreign": environment.foreign(),
            "replica_steps": streams.SPENT["replica-steps"],
            "replicas": sorted(streams.ASKED),
            "parts": {
                name: {
                    "revision": self.claim.part(name).revision,
                    "outcome": self.outcomes[name],
                    "source": effect.source,
                    **entry_of(effect),
                }
                for name, effect in self.effects.items()
            },
        }

    def _repr_html_(self) -> str:
        claim, outcomes, comparisons = self.claim, self.outcomes, self.comparisons
        rows = [
            cards.Row(
                claim.part(name),
                claim.recorded(name),
                effect,
                "" if outcomes[name].startswith("not judged") else outcomes[name],
                comparisons[name].words,
                comparisons[name].contradicts,
            )
            for name, effect in self.effects.items()
        ]
        pages = {claim.part(name).page for name in self.effects}
        others = [
            cards.Row(part, claim.recorded(part.name))
            for part in claim.parts
            if part.page not in pages
        ]
        return cards.judgement_table(claim.id, claim.verdict, rows, others, claim.setting)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            "text/plain": "\n".join(
                f"{name}: {self.effects[name]}: {outcome}; {self.comparisons[name].words}"
                for name, outcome in self.outcomes.items()
            ),
            "text/html": self._repr_html_(),
            MIME: self.evidence(),
        }


def _outcome(part: Part, effect: Effect) -> str:
    if part.replicas and effect.n < part.replicas:
        return f"not judged: {effect.n} of {part.replicas} replicas"
    return part.outcome(effect)
