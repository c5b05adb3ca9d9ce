"""What the package measures of a network on a card equals what it measures of one on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import actnorm as an
from actnorm import gradients
from benchmarks.gpu.problems import CPU, PROBLEMS, SEED, Problem
from benchmarks.gpu.report import Check, apart

EXACT, SINGLE = 1e-9, 1e-4
HARD = ("hardsigmoid", "hardswish")  # torch multiplies by 1/6 in single precision on a card
EXTREMES = (0.0, 1e-30, 1.0, 89.0, 100.0, 1e4)


def sample(problem: Problem, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a fresh network and 32 examples, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        model = problem.build().to(dtype)
        return model, torch.randn(32, *problem.shape, dtype=dtype), torch.randint(3, (32,))


def on_both(device: torch.device, measure: Callable, problem: Problem, dtype: torch.dtype) -> float:
    """Return how far what is measured on the card lies from what is measured on the CPU."""
    found = []
    for place in (device, CPU):
        model, inputs, targets = sample(problem, dtype)
        found.append(measure(model.to(place), inputs.to(place), targets.to(place)))
    return apart(*found, least=1e-6 if dtype == torch.float64 else 1e-2)


def numbers(probe: Any) -> dict[str, Any]:
    """Return a probe's table and its statistics by unit; names and kinds by their spelling."""
    table = probe.table()
    words = {text: 0.0 for column in ("name", "kind", "shape") for text in map(str, table[column])}
    units = {f"{name}, units": probe.units(name) for name in table["name"]}
    return words | table.select_dtypes("number").to_dict("list") | units


def probed(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Return what a probe saw of two training passes and one in eval mode."""
    with an.probe(model) as probe:
        for _ in range(2):
            nn.functional.cross_entropy(model(inputs), targets).backward()
        model.eval()(inputs)
    return numbers(probe)


def probed_replicas(problem: Problem, device: torch.device) -> float:
    runs = [
        problem.train(place, torch.float64, record=an.probe, steps=10) for place in (device, CPU)
    ]
    found = ([numbers(record.context) for record in run.records] for run in runs)
    return apart(*found, least=1e-5)  # means that normalization made 0


def per_sample(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return gradients.per_sample(model.eval(), inputs, targets, chunk=20)


def moments(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
    return vars(gradients.moments(model.eval(), inputs, targets, chunk=20))


class Fetching(nn.Sequential):
    """Brings its inputs to its own device."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(next(self.parameters()).device))


def fetched(device: torch.device) -> float:
    model, inputs, targets = sample(PROBLEMS["mlp, sgd"], torch.float64)
    model = Fetching(model)
    here = moments(model, inputs, targets)
    return apart(moments(model.to(device), inputs, targets.to(device)), here)


def apart_from_the_model(device: torch.device) -> float:
    """Return how many times a model on the card takes data on the CPU, or fails unnamed."""
    model, inputs, targets = sample(PROBLEMS["mlp, sgd"], torch.float64)
    model, unnamed = model.to(device), 0
    there = inputs.to(device), targets.to(device)
    for data in ((inputs, targets), (there[0], targets), (inputs, there[1])):
        if device == CPU:
            break
        try:
            gradients.moments(model, *data)
        except ValueError as error:
            unnamed += "must lie on one device, not" not in str(error)
        else:
            unnamed += 1
    return float(unnamed)


def scales(model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Return sign coherence, relative noise and the noise scale."""
    found = gradients.moments(model.eval(), inputs, targets)
    whole = sum(mean.double().square().sum() for mean in found.mean.values())
    scale = gradients.noise_scale(found.squared_norms, whole, batch_sizes=(1, len(inputs)))
    weights = [mean.flatten(1) for mean in found.mean.values() if mean.ndim > 1]
    return vars(scale) | {
        "relative noise": gradients.relative_noise(found),
        "of samples": gradients.relative_noise(per_sample(model, inputs, targets)),
        "coherence": [gradients.sign_coherence(weight) for weight in weights],
    }


def catalogue(device: torch.device, dtype: torch.dtype, names: Iterable[str]) -> float:
    """Return the largest distance of any activation or slope; far out they must agree too."""
    line = torch.linspace(-12, 12, 997, dtype=dtype)
    ends = torch.tensor([sign * x for x in EXTREMES for sign in (-1, 1)], dtype=dtype)
    worst = 0.0
    for act in (an.ACTIVATIONS[name] for name in names):
        for function in (act, act.slope, act.module()):
            for x in (line, ends):
                if isinstance(function, nn.Module):
                    function = function.to(dtype)
                    pair = [function.to(place)(x.to(place)) for place in (device, CPU)]
                else:
                    pair = [function(x.to(place)) for place in (device, CPU)]
                worst = max(worst, apart(*pair))
    return worst


def theory(device: torch.device) -> float:
    """Return how far theory moves where the function, or the features, live on the card."""
    features = torch.randn(50, 7, generator=an.stream("noise", 0, seed=SEED), dtype=torch.float64)
    targets = features.square().sum(1)

    def on(place: torch.device) -> dict[str, Any]:
        def there(x: Any) -> Tensor:
            return torch.tanh(torch.as_tensor(x).to(place))

        descent = an.descent.least_squares(features.to(place), targets.to(place))
        return {
            "expectation": an.gaussian.expectation(lambda x: there(x) ** 2, 0.3),
            "of a module": an.gaussian.expectation(nn.PReLU().to(place, torch.float64), 0.3),
            "two": an.gaussian.expectation2(there, 0.5),
            "moments": vars(an.gaussian.moments(there, 0.3)),
            "eigenvalues": descent.eigenvalues,
            "excess": [descent.excess(3.0), descent.excess(torch.arange(4.0))],
            "steps": descent.steps_to(),
        }

    return apart(on(device), on(CPU))


def checks(device: torch.device) -> Iterator[Check]:
    """Yield every check of probes, gradients, activations and theory."""
    for name in ("mlp, sgd", "convolution and BatchNorm", "attention"):
        for dtype, tolerance in ((torch.float64, EXACT), (torch.float32, SINGLE)):
            kind = str(dtype).removeprefix("torch.")
            measure = partial(on_both, device, probed, PROBLEMS[name], dtype)
            compared = "tables and units of card and CPU"
            yield Check(f"probe: {name}, {kind}", compared, tolerance, measure)
        replicas = partial(probed_replicas, PROBLEMS[name], device)
        yield Check(f"probe of replicas: {name}", "tables and units", EXACT, replicas)
        for function in (per_sample, moments, scales):
            measure = partial(on_both, device, function, PROBLEMS[name], torch.float64)
            title = function.__name__.replace("_", " ")
            yield Check(f"gradients: {title}, {name}", "card and CPU, float64", EXACT, measure)
    unnamed, elsewhere = "errors that name no device", partial(apart_from_the_model, device)
    yield Check("gradients: data elsewhere, mlp", unnamed, 0, elsewhere)
    both = "card and CPU, float64"
    yield Check("gradients: data fetched, mlp", both, EXACT, partial(fetched, device))
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        kind = str(dtype).removeprefix("torch.")
        smooth = partial(catalogue, device, dtype, an.ACTIVATIONS.keys() - HARD)
        hard = partial(catalogue, device, dtype, HARD)
        compared = "values, slopes and modules, far out too"
        yield Check(f"activations: {kind}", compared, tolerance, smooth)
        yield Check(f"activations: {kind}, {' and '.join(HARD)}", compared, 1e-7, hard)
    yield Check("theory", "gaussian and descent, fed from the card", EXACT, partial(theory, device))
