"""The house style: theory is a line, a measurement is a dot with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from actnorm.evidence import Effect, Part, marks, mean_effect, ratio_effect

PALETTE = sns.color_palette("colorblind")
# Below and above zero; zero itself is the page, light or dark.
SIGNED = mpl.colors.LinearSegmentedColormap.from_list(
    "signed",
    [(0, "#2b73c9"), (0.5, (0.17, 0.45, 0.79, 0)), (0.5, (0.82, 0.2, 0.17, 0)), (1, "#d1332b")],
)
OUTCOMES = {"holds": "#17663f", "fails": "#a32638", "undecided": "#4b4a9c"}  # as on the cards
STYLE = {
    **sns.axes_style("ticks"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "savefig.facecolor": "white",
    "svg.hashsalt": "actnorm",
}


def house_style() -> None:
    """Draw this notebook's figures in the house style, as SVG."""
    mpl.rcParams.update(STYLE)
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    set_matplotlib_formats("svg", metadata={"Date": None})


def panels(
    columns: int = 1, rows: int = 1, *, height: float = 3.2, **kwargs: Any
) -> tuple[Figure, Any]:
    """Return a figure of the page's width and its axes, side by side."""
    with mpl.rc_context(STYLE):
        return plt.subplots(rows, columns, figsize=(7.2, height), **kwargs)


def log_axes(ax: Axes, which: str = "xy") -> Axes:
    """Make the x or y axis, or both, logarithmic, with few labels in plain numbers."""
    for name in which:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axis.set_major_formatter(FuncFormatter(partial(_log_label, axis)))
        axis.set_minor_formatter(NullFormatter())
    return ax


def _log_label(axis: Axis, value: float, _: int) -> str:
    """Label powers of ten, and 2 and 5 between them where the axis is short."""
    low, high = axis.get_view_interval()
    power = math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)
    return f"{value:g}" if power or high / low < 100 else ""


def theory(x: Any, y: Any, *, ax: Axes, label: str | None = None, **kwargs: Any) -> Axes:
    """Draw a law as a line."""
    ax.plot(x, y, label=label, zorder=1, **kwargs)
    return ax


def measured(x: Any, samples: Any, *, ax: Axes, label: str | None = None, **kwargs: Any) -> Axes:
    """Draw means over replicas with 99 % intervals.

    Parameters
    ----------
    x
        Shape ``(points,)``.
    samples
        Shape ``(replicas, points)``. On a logarithmic y axis means are geometric.
    """
    effect = _log_mean if ax.get_yscale() == "log" else mean_effect
    effects = [effect(column) for column in np.asarray(samples).T]
    y = np.array([e.estimate for e in effects])
    bars = [y - [e.low for e in effects], [e.high for e in effects] - y]
    look = {"marker": "o", "linestyle": "none", "ms": 4, "capsize": 2, "zorder": 2} | kwargs
    ax.errorbar(x, y, bars, label=label, **look)
    return ax


def arms(
    samples: Mapping[str, Any],
    *,
    ax: Axes,
    log: bool = False,
    colors: Mapping[str, Any] = MappingProxyType({}),
) -> Axes:
    """Draw one row for each arm: every replica as a faint dot, the mean with its 99 % interval.

    ``samples`` maps the arm's name to values of shape ``(replicas,)``. An arm that ``colors``
    names keeps its color in all figures of a page; the others take the palette's, row by row.
    """
    if log:
        log_axes(ax, "x")
    for row, (name, values) in enumerate(samples.items()):
        color = colors.get(name, PALETTE[row % len(PALETTE)])
        e = (_log_mean if log else mean_effect)(values)
        jitter = np.linspace(-0.18, 0.18, len(values))
        ax.scatter(values, row + jitter, s=7, color=color, alpha=0.35, linewidths=0)
        bar = [[e.estimate - e.low], [e.high - e.estimate]]
        ax.errorbar([e.estimate], [row], xerr=bar, fmt="D", ms=5, color=color, mec="black", mew=0.6)
    ax.set_yticks(range(len(samples)), list(samples))
    ax.set_ylim(len(samples) - 0.5, -0.5)
    return ax


def isolation(
    curves: Mapping[str, Mapping[str, Any]],
    *,
    ax: Axes,
    ylabel: str,
    better: str = "low",
    colors: Mapping[str, Any] = MappingProxyType({}),
) -> Axes:
    """Draw what each arm reaches at each learning rate, the nuisance, and at the best of them.

    The isolation plot of Godbole et al. (2023): lines are means over the tuning seeds, the area of
    a dot is the share of resampled seeds that would have chosen its rate (`Tuning.wins`), and a
    ring marks the rate that was chosen. Arms are compared at their rings.

    Parameters
    ----------
    curves
        What `Tuning.summary` returned, by arm. On other replicas than the record's, where these
        seeds never tried the recorded rate, the ring is at the one that they chose.
    better
        ``low`` or ``high``: where the metric is good.
    colors
        Of arms, by name, as in `arms`.
    """
    if better not in ("low", "high"):
        raise ValueError(f"better must be low or high, not {better!r}")
    log_axes(ax, "x")
    rings = {}
    for row, (name, curve) in enumerate(curves.items()):
        color = colors.get(name, PALETTE[row % len(PALETTE)])
        means = np.mean(curve["values"], axis=1)
        ax.plot(curve["rates"], means, color=color, zorder=1)
        areas = 120 * np.asarray(curve["wins"])
        ax.scatter(curve["rates"], means, s=areas, color=color, linewidths=0, zorder=2)
        tried = list(curve["rates"])
        rate = curve["rate"] if curve["rate"] in tried else curve.get("chosen", curve["rate"])
        rings[name] = (rate, means[tried.index(rate)]), color
        ax.scatter(
            *rings[name][0], s=150, facecolors="none", edgecolors=color, linewidths=1.4, zorder=3
        )
    ax.set(xlabel="learning rate", ylabel=ylabel)
    ax.margins(y=0.18)
    _name(ax, rings, first=-1 if better == "low" else 1)
    return ax


def _name(ax: Axes, points: Mapping[str, tuple[tuple[float, float], str]], first: int) -> None:
    """Write each point's name where it covers the least of lines and of other names.

    Tried are above and below, ``first`` the side where no line should be, in the middle and at
    both corners, close and then farther away.
    """
    ax.figure.draw_without_rendering()
    lines = np.concatenate([_along(ax.transData.transform(x.get_xydata())) for x in ax.lines])
    frame, names = ax.get_window_extent(), []
    for name, (at, color) in points.items():
        tried = {}
        for far, side, across in product((0, 14), (first, -first), (0, 8, -8)):
            align = {0: "center", 8: "left", -8: "right"}[across]
            look = {"ha": align, "va": "bottom" if side > 0 else "top"}
            offset = across, side * (far + (4 if across else 9))
            where = {"xytext": offset, "textcoords": "offset points"}
            text = ax.annotate(name, at, **where, **look, color=color, size=9)
            box = text.get_window_extent()
            covered = box.count_contains(lines) + 100 * box.count_overlaps(names)
            out = sum(max(0, d) for d in (frame.x0 - box.x0, box.x1 - frame.x1))
            out += sum(max(0, d) for d in (frame.y0 - box.y0, box.y1 - frame.y1))
            tried[text] = covered + out + far / 4
        chosen = min(tried, key=tried.get)
        names.append(chosen.get_window_extent())
        for text in tried.keys() - {chosen}:
            text.remove()


def _along(vertices: np.ndarray) -> np.ndarray:
    """Points a pixel or two apart along a line, (points, 2)."""
    steps = np.arange(len(vertices))
    fine = np.linspace(0, steps[-1], 1 + 60 * int(steps[-1]))
    return np.stack([np.interp(fine, steps, column) for column in vertices.T], axis=1)


def sensitivity(part: Part, effects: Sequence[Sequence[Effect]], *, ax: Axes) -> Axes:
    """Draw what a part's outcome would have been at neighboring learning rates.

    Row i and column j of ``effects`` belong to the first and second arm at half their best rate,
    at it, and at twice. A cell says how large the effect is, and which outcome follows.
    """
    rates = ["½×", "best", "2×"]
    tenth = math.floor(math.log10(part.margin)) if part.margin else 0
    spec = f".{max(2, 1 - tenth)}f" if tenth > -4 else ".0e"  # a tenth of the margin shows
    for i, row in enumerate(effects):
        for j, effect in enumerate(row):
            outcome = part.outcome(effect).split(":")[0]
            cell = {"fc": OUTCOMES[outcome], "ec": "white", "lw": 1.5}
            ax.add_patch(mpl.patches.Rectangle((j - 0.5, i - 0.5), 1, 1, **cell))
            text = {"color": "white", "ha": "center"}
            ratio = effect.method == "ratio"  # in digits that count: it may be a millionth
            size = marks.number(effect.estimate) if ratio else f"{effect.estimate:{spec}}"
            size = f"{size}{effect.unit}".replace("-", "−")
            ax.text(j, i, size, va="bottom", size=10, **text)
            ax.text(j, i + 0.08, outcome, va="top", size=8, **text)
    ax.set(xlim=(-0.5, 2.5), ylim=(2.5, -0.5))  # one row has the size of one of three
    ax.spines["bottom"].set_position(("data", len(effects) - 0.5))
    ax.set_xticks(range(3), rates)
    ax.set_yticks(range(len(effects)), rates if len(effects) == 3 else [""])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(part.name, size=10)
    return ax


def _log_mean(values: Any) -> Any:
    return ratio_effect(values, np.ones(len(values)))
