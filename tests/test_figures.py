"""Figures: what they draw is what they were given."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from actnorm import evidence, figures


def test_measured_draws_means_and_intervals():
    samples = np.random.default_rng(0).normal([1.0, 2.0], 0.1, (20, 2))
    _, ax = figures.panels()
    figures.measured([0, 1], samples, ax=ax)
    dots = ax.containers[0][0].get_ydata()
    assert dots == pytest.approx(samples.mean(0))
    ends = [path.vertices[:, 1] for path in ax.containers[0][2][0].get_paths()]
    expected = [evidence.mean_effect(column) for column in samples.T]
    assert np.allclose(ends, [[e.low, e.high] for e in expected])


def test_measured_is_geometric_on_a_logarithmic_axis():
    samples = np.exp(np.random.default_rng(0).normal(1.0, 1.0, (20, 1)))
    _, ax = figures.panels()
    figures.log_axes(ax, "y")
    figures.measured([0], samples, ax=ax)
    assert ax.containers[0][0].get_ydata()[0] == pytest.approx(np.exp(np.log(samples).mean()))


def test_measured_takes_a_shape_of_dots_without_a_warning():
    _, ax = figures.panels()
    figures.measured([0, 1], np.random.default_rng(0).normal(size=(5, 2)), ax=ax, marker="s")
    dots = ax.containers[0][0]
    assert (dots.get_marker(), dots.get_linestyle()) == ("s", "None")


def test_arms_names_every_row():
    _, ax = figures.panels()
    figures.arms({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1] == [2.0, 3.0]


def test_sensitivity_says_each_outcome_and_its_size():
    part = evidence.Part("faster", "One is faster.", kind="greater", margin=1.25)
    a, b = [np.full(3, n) for n in (10.0, 20.0, 40.0)], [np.array([9.9, 10.0, 10.1])] * 3
    _, ax = figures.panels()
    effects = [[evidence.ratio_effect(x, y) for y in b] for x in a]
    figures.sensitivity(part, effects, ax=ax)
    said = [text.get_text() for text in ax.texts]
    assert said == ["1.00×", "fails"] * 3 + ["2.00×", "holds"] * 3 + ["4.00×", "holds"] * 3
    colors = [mpl.colors.to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert [colors[0], colors[8]] == [figures.OUTCOMES["fails"], figures.OUTCOMES["holds"]]


def test_sensitivity_writes_rounding_in_powers_of_ten():
    part = evidence.Part("same", "They are the same.", kind="bound", margin=1e-9)
    _, ax = figures.panels()
    figures.sensitivity(part, [[evidence.deviation([4e-15, 5e-15, 6e-15], 0)]], ax=ax)
    assert [text.get_text() for text in ax.texts] == ["5e−15", "holds"]


def test_sensitivity_writes_a_millionth_in_digits_that_count():
    part = evidence.Part("more", "It is more.", kind="greater", margin=100.0)
    _, ax = figures.panels()
    tiny = evidence.ratio_effect([1e-6, 4e-6, 2e-6], [1.0, 1.0, 1.0])
    figures.sensitivity(part, [[tiny]], ax=ax)
    assert [text.get_text() for text in ax.texts] == ["2.00e−06×", "fails"]


def test_style_leaves_no_trace():
    before = dict(mpl.rcParams)
    figures.panels()
    assert dict(mpl.rcParams) == before


def test_isolation_marks_the_chosen_rate_of_each_arm():
    curve = {"rates": [0.1, 0.2, 0.4], "values": [[3, 5], [2, 2], [9, 9]], "wins": [0.1, 0.9, 0]}
    _, ax = figures.panels()
    figures.isolation({"a": curve | {"rate": 0.2}}, ax=ax, ylabel="updates")
    areas, ring = ax.collections
    assert areas.get_sizes().tolist() == [12.0, 108.0, 0.0]
    assert ring.get_offsets().tolist() == [[0.2, 2.0]]
    assert ax.lines[0].get_ydata().tolist() == [4.0, 2.0, 9.0]
    assert [text.get_text() for text in ax.texts] == ["a"]
    with pytest.raises(ValueError, match="better must be low or high, not 'up'"):
        figures.isolation({}, ax=ax, ylabel="updates", better="up")


def test_isolation_draws_a_run_whose_seeds_never_tried_the_recorded_rate():
    curve = {"rates": [0.1, 0.2, 0.4], "values": [[3, 5], [2, 2], [9, 9]], "wins": [0.1, 0.9, 0]}
    _, ax = figures.panels()
    figures.isolation({"a": curve | {"rate": 0.8, "chosen": 0.2}}, ax=ax, ylabel="updates")
    assert ax.collections[1].get_offsets().tolist() == [[0.2, 2.0]]


def test_names_of_arms_cover_no_other_name_and_where_there_is_room_no_line():
    rates, wins = [0.1, 0.2, 0.4], [0, 1, 0]
    ends = {"slow": [9, 5, 9], "slow, flipped": [8, 4.8, 8], "quick": [7, 3, 8], "best": [9, 1, 9]}
    curves = {
        name: {"rates": rates, "wins": wins, "rate": 0.2, "values": [[v] for v in values]}
        for name, values in ends.items()
    }
    _, ax = figures.panels()
    figures.isolation(curves, ax=ax, ylabel="updates")
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == list(ends)
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)  # itself
    for line in ax.lines:
        path = line.get_path().transformed(ax.transData)
        assert not path.intersects_bbox(boxes[-1], filled=False)


def test_sensitivity_draws_a_margin_of_0():
    part = evidence.Part("more", "One is more.", kind="greater", margin=0.0)
    _, ax = figures.panels()
    figures.sensitivity(part, [[evidence.mean_effect([1.0, 1.1, 1.2])] * 3], ax=ax)
    assert [text.get_text() for text in ax.texts] == ["1.10", "holds"] * 3


def test_an_arm_keeps_its_color_in_every_figure():
    curve = {"rates": [0.1, 0.2], "values": [[3, 5], [2, 2]], "wins": [0.1, 0.9], "rate": 0.2}
    _, (left, right) = figures.panels(2)
    figures.arms({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}, ax=left, colors={"b": "red"})
    figures.isolation({"b": curve}, ax=right, ylabel="updates", colors={"b": "red"})
    first, second = (mpl.colors.to_hex(row.get_facecolor()[0]) for row in left.collections[::2])
    assert [first, second] == [mpl.colors.to_hex(figures.PALETTE[0]), "#ff0000"]
    assert right.lines[0].get_color() == "red"


def test_zero_is_the_page_and_signs_have_a_color_each():
    low, zero, high = figures.SIGNED([0.0, 0.5, 1.0])
    assert zero[3] == pytest.approx(0, abs=0.01)
    assert low[3] == high[3] == 1
    assert low[2] > low[0]
    assert high[0] > high[2]
