"""What a page asks, answers and advises, in words and numbers from registry and record.

``an.page(name)`` is a page's front: the guess that a reader makes first, the answer in short, and
the card that says what to do. None of it is typed into a notebook.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import altair as alt

from actnorm import evidence, explorables
from actnorm.evidence import Effect, marks


@dataclass(frozen=True)
class Size:
    """A recorded effect in a sentence: ``{part}``, ``{part:~}`` without its interval.

    ``{part:points}`` and ``{part:~points}`` tell a share in hundredths, ``{part:4*}`` and
    ``{part:~4*}`` tell a multiple of the effect.
    """

    effect: Effect

    def __format__(self, spec: str) -> str:
        alone, spec = spec.startswith("~"), spec.removeprefix("~")
        factor, unit = 1.0, self.effect.unit
        if spec == "points":
            factor, unit = 100.0, " points"
        elif spec:
            factor = float(spec.removesuffix("*"))
        estimate, low, high = _times(factor, self.effect)
        said = f"{marks.number(estimate)}{unit}"
        return said if alone else f"{said} {marks.span(low, high)}"


def _times(factor: float, effect: Effect) -> tuple[float, float, float]:
    """Return a multiple of an effect and of its interval, whose ends change sides with its sign."""
    low, high = sorted((factor * effect.low, factor * effect.high))
    return factor * effect.estimate, low, high


@dataclass(frozen=True)
class Words:
    """Markdown that a notebook and the book show."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Page:
    """One page of the book: its question, and from the record its answer and advice."""

    name: str
    entry: dict[str, Any]

    @property
    def title(self) -> str:
        """The page's question, its one name everywhere."""
        return self.entry["title"]

    def effect(self, part: str) -> Effect | None:
        """Return the recorded effect of one of the claim's parts, as it is judged, if there is one:
        a page is rehearsed, and its parts are recorded first, without. Where the page judges other
        claims too, a part that its own claim lacks is theirs.
        """
        claims = [evidence.claim(self.entry["claim"]), *evidence.registry().values()]
        judging = (c for c in claims for p in c.parts if (p.name, p.page) == (part, self.name))
        claim = next(judging, claims[0])
        judge, found = claim.part(part), claim.recorded(part)
        return found and judge.judged(found)

    def say(self, template: str, **values: float) -> str:
        """Return a sentence with its ``{part}`` replaced by recorded effects, or by ``values``."""
        return template.format_map(_Sizes(self, values))

    def in_short(self) -> Words:
        """Return the answer, and what it was tested on."""
        tested = (
            f"Tested on {self.entry['tested']}. Intervals are 99 % (99.5 % where looked at twice)"
            f" over {self.entry.get('over', 'initialization, order and split')}."
        )
        return Words(_quoted(f"{self.say(self.entry['short']).strip()}\n\n{tested}"))

    def stands(self) -> Words:
        """Return what stands after the verdict, point by point, with the recorded effects."""
        return Words(self.say(self.entry["stands"]).strip())

    def use_it(self, **values: float) -> Words:
        """Return the advice as a card: symptom, check, threshold, what to do, what to expect.

        Parameters
        ----------
        values
            Numbers that no part records and the page computes, under the names that the advice
            has for them.
        """
        use, tested = self.entry["use"], self.entry["use"]["tested"].rstrip(".")
        asked = {name for text in use.values() for name in re.findall(r"{(\w+)", text)}
        if unasked := sorted(values.keys() - asked):
            raise ValueError(f"the advice of page {self.name} has no {', '.join(unasked)}")
        said = [
            f"**Symptom.** {use['symptom']}",
            f"**Check.**\n```python\n{use['check'].strip()}\n```",
            f"**Threshold.** {use['threshold']}",
            f"**Do.** {use['do']}",
            f"**Expect.** {use['expect']}",
            f"**Tested on.** {tested[:1].upper()}{tested[1:]}.",
        ]
        told = [self.say(text, **values) for text in said[2:]]
        return Words(_quoted("\n\n".join([*said[:2], *told])))

    def guess(self, theory: float | None = None) -> explorables.Explorable | Words:
        """Return the chart on which a reader guesses the headline number before it shows.

        Before the page has a record there is nothing to guess, and it says so.

        Parameters
        ----------
        theory
            What theory says of it, in the effect's units; left out where there is none.
        """
        asks = self.entry["guess"]
        effect = self.effect(asks["part"])
        if effect is None:
            return Words(f"{asks['ask']} ({evidence.NOT_MEASURED})")
        factor, low, high = asks.get("times", 1.0), float(asks["low"]), float(asks["high"])
        unit = asks.get("unit", effect.unit)
        row = dict(zip(("estimate", "low", "high"), _times(factor, effect), strict=True))
        if not all(low <= value <= high for value in row.values()):
            raise ValueError(f"the guess of page {self.name} must reach {row}, not {low} to {high}")
        said = f"{marks.number(row['estimate'])}{unit} {marks.span(row['low'], row['high'])}"
        answer = f"measured: {said}"
        if theory is not None:
            row |= {"theory": theory}
            answer += f", theory: {marks.number(theory)}{unit}"
        start = math.sqrt(low * high) if asks.get("log") else (low + high) / 2
        start = round(low + round((start - low) / asks["step"]) * asks["step"], 9)
        return explorables.explorable(
            [_guessing(row, answer, unit, asks)],
            [
                explorables.slider("guess", "your guess", low, high, start, asks["step"]),
                explorables.checkbox("show", "show what was measured"),
            ],
            f"{asks['ask']} A scale from {low:g} to {high:g}{unit} with your guess on it; once you"
            " ask for it, what was measured, with its interval.",
            title=asks["ask"],
            height=70,
        )


class _Unmeasured:
    """What stands for an effect until the part is recorded."""

    def __format__(self, spec: str) -> str:
        return evidence.NOT_MEASURED


class _Sizes(dict):
    """Recorded effects by the names of parts, looked up as a sentence asks for them."""

    def __init__(self, page: Page, values: dict[str, float]) -> None:
        super().__init__(values)
        self.page = page

    def __missing__(self, part: str) -> Size | _Unmeasured:
        effect = self.page.effect(part)
        return _Unmeasured() if effect is None else Size(effect)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _guessing(row: dict[str, float], answer: str, unit: str, asks: dict[str, Any]) -> alt.Chart:
    """The scale, the reader's guess on it, and what shows once asked for."""
    scale = alt.Scale(
        domain=[asks["low"], asks["high"]], type="log" if asks.get("log") else "linear"
    )
    base = alt.Chart(alt.Data(values=[row | {"answer": answer}]))

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=scale, title=asks.get("axis"))

    mine = base.transform_calculate(
        guess="guess", text=f"'your guess: ' + format(guess, '~r') + '{unit}'"
    )
    chart = mine.mark_circle().encode(x=x("guess"), y=alt.value(50))
    chart += mine.mark_text().encode(x=alt.value(0), y=alt.value(2), text="text:N")
    shown = base.transform_filter("show")
    unsaid = {"aria": False}  # the answer in words says what these draw
    chart += shown.mark_rule(strokeWidth=3, color=explorables.MEASURED, **unsaid).encode(
        x=x("low"), x2="high:Q", y=alt.value(30)
    )
    chart += shown.mark_point(filled=True, **unsaid).encode(x=x("estimate"), y=alt.value(30))
    chart += shown.mark_text().encode(
        x=alt.value(0), y=alt.value(18), text="answer:N", description="estimate:Q"
    )
    if "theory" in row:
        chart += shown.mark_tick(thickness=2, color=explorables.INK, **unsaid).encode(
            x=x("theory"), y=alt.value(30)
        )
    return chart


def page(name: str) -> Page:
    """Return a page's front by its name, such as ``"zero-centering/sign-coherence"``.

    Raises
    ------
    KeyError
        Naming the pages that the registry knows.
    """
    known = evidence.pages()
    if name not in known:
        raise KeyError(f"no page {name!r}; the registry holds {', '.join(known)}")
    return Page(name, known[name])
