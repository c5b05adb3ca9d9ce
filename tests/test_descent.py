"""Exact gradient descent against gradient descent."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actnorm import descent


def problem(examples=60, width=7, seed=3):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(examples, width, generator=g, dtype=torch.float64)
    return x, torch.randn(examples, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
def test_excess_is_that_of_a_plain_loop(bias):
    x, y = problem()
    run = descent.least_squares(x, y, bias=bias)
    design = torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x], 1) if bias else x
    gram = design.T @ design / len(x)
    assert float(run.eigenvalues[0]) == pytest.approx(float(torch.linalg.eigvalsh(gram)[-1]))
    best = torch.linalg.lstsq(design, y).solution
    w = torch.zeros_like(best)

    def loss(w):
        return (design @ w - y).square().sum() / len(x)

    floor, start = loss(best), loss(w)
    for step in range(50):
        expected = (loss(w) - floor) / (start - floor)
        assert float(run.excess(step)) == pytest.approx(float(expected), rel=1e-8)
        w = w - design.T @ (design @ w - y) / len(x) / run.eigenvalues[0]


def test_steps_to_is_where_the_excess_crosses():
    run = descent.least_squares(*problem())
    for level in (0.5, 0.1, 1e-3):
        steps = run.steps_to(level)
        assert float(run.excess(steps)) == pytest.approx(level, rel=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_rotations_and_sign_flips_of_features_change_nothing(seed):
    x, y = problem(seed=seed)
    g = torch.Generator().manual_seed(seed + 1)
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, generator=g, dtype=x.dtype))
    plain = descent.least_squares(x, y).steps_to(0.1)
    assert descent.least_squares(x @ rotation, y).steps_to(0.1) == pytest.approx(plain, rel=1e-8)


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(1e-3, 4), st.integers(1, 300))
def test_offset_eigenvalues_are_those_of_the_matrix(mean, variance, width):
    gram = torch.full((width + 1, width + 1), mean**2, dtype=torch.float64)
    gram[0], gram[:, 0], gram[0, 0] = mean, mean, 1.0
    gram[1:, 1:] += variance * torch.eye(width, dtype=torch.float64)
    spectrum = torch.linalg.eigvalsh(gram)
    large, small = descent.offset_eigenvalues(mean, variance, width)
    assert large == pytest.approx(float(spectrum[-1]), rel=1e-9)
    assert small == pytest.approx(float(spectrum[0]), rel=1e-6)


def test_a_course_is_computed_where_its_features_are(request):
    run = descent.least_squares(*problem())
    here = [run.excess(3.0).item(), run.steps_to(0.1)]
    request.getfixturevalue("elsewhere")
    assert [run.excess(3.0).item(), run.steps_to(0.1)] == here


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: descent.least_squares(torch.ones(3), torch.ones(3)), "features must have shape"),
        (lambda: descent.least_squares(torch.ones(0, 2), torch.ones(0)), "features must have"),
        (lambda: descent.least_squares(torch.ones(3, 2), torch.ones(4)), "targets must have 3"),
        (
            lambda: descent.least_squares(torch.full((3, 2), math.nan), torch.ones(3)),
            "features must be finite",
        ),
        (
            lambda: descent.least_squares(torch.rand(3, 2), torch.full((3,), math.inf)),
            "targets must be finite",
        ),
        (
            lambda: descent.least_squares(torch.ones(3, 2), torch.ones(3, device="meta")),
            "targets must lie on cpu, as features, not meta",
        ),
        (lambda: descent.offset_eigenvalues(0.5, 0.0, 4), "variance must be positive"),
        (lambda: descent.offset_eigenvalues(0.5, 1.0, 0), "width must be at least 1"),
        (lambda: descent.least_squares(*problem()).steps_to(1.5), "level must lie between"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
