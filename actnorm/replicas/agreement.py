"""Whether a replica among others is the replica alone: a stack compared with its networks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from actnorm import stateless
from actnorm.data import Part
from actnorm.replicas.device import generator_state
from actnorm.replicas.losses import Loss
from actnorm.replicas.stack import RULE, Stack, Tensors, each
from actnorm.replicas.step import Gradient, gradient_of, leaves, scalar_of

_ALONE = 5  # networks that are run alone, the first and the last among them


class Play(NamedTuple):
    """One step of a stack: its loss, the names of what it trains, and what it is given."""

    stack: Stack
    loss: Loss
    trained: list[str]
    batch: Part
    noise: Part


class _Alone(NamedTuple):
    """What one network is by itself."""

    loss: Tensor
    gradients: list[Tensor]
    moved: Tensors


class _Gap(NamedTuple):
    """What of a replica is not what it is alone, and by how much of its largest entry."""

    parameter: str | None  # its gradient, or the loss
    row: int
    ratio: float


def agreed(play: Play, *, compile: bool) -> Gradient:
    """Return the stack's loss and gradient as a function, as `gradient_of` does.

    It has been compared, for this play, with the networks run one by one, without `torch.func`.
    Networks that draw from torch's own generator are compared in eval mode; where they draw there
    too, not at all. The networks and what they hold are left as they were.

    Raises
    ------
    ValueError
        Naming the module that cannot run in a stack, or what disagrees: by more than rounding, in
        float64 too.
    """
    networks = [play.stack.networks[row] for row in _rows(play)]
    first, watch, drew = _watched(play)
    build = partial(gradient_of, networks[0], play.loss, len(play.stack.replicas))
    gradient = build(embeds=watch.embeds)
    if len(networks) > 1:
        try:
            outcome = _together(play, gradient)
        except Exception as error:
            raise stateless.refusal(RULE, networks[0], error) from error
        if drew:
            _compare_still(play, networks, gradient)
        else:
            _compare(play, gradient, outcome, first, watch.eps)
    if not compile:
        return gradient
    buffers = dict(networks[0].named_buffers(remove_duplicate=False))
    if attributes := sorted(first.moved.keys() - buffers.keys()):
        raise ValueError(f"compile must be False where a forward sets {', '.join(attributes)}")
    compiled = build(embeds=watch.embeds, compile=True)
    if not drew:
        _compare(play, compiled, _together(play, compiled), first, watch.eps)
    return compiled


def _compare_still(play: Play, networks: list[nn.Module], gradient: Gradient) -> None:
    """Compare in eval mode, where they may draw nothing."""
    with stateless.untouched(*networks):
        for network in networks:
            network.eval()
        try:
            first, watch, drew = _watched(play)
            outcome = _together(play, gradient)
        except Exception:  # a loss or a layer for train mode only
            return
        if not drew:
            _compare(play, gradient, outcome, first, watch.eps)


def _rows(play: Play) -> list[int]:
    """Return which replicas are compared."""
    last = len(play.stack.replicas) - 1
    return sorted({round(last * share / (_ALONE - 1)) for share in range(_ALONE)})


def _watched(play: Play) -> tuple[_Alone, stateless.Watch, bool]:
    """Run the first network alone: what it is, what was seen, and whether it drew."""
    device = play.batch[0].device
    before = generator_state(device)
    with stateless.Watch() as watch:
        first = _alone(play, 0)
    return first, watch, not torch.equal(before, generator_state(device))


def _alone(play: Play, row: int) -> _Alone:
    network = play.stack.networks[row]
    state = {name: value[row].clone() for name, value in play.stack.state.items()}
    batch, noise = (tuple(t[row].clone() for t in part) for part in (play.batch, play.noise))
    mine, rest = leaves(state, play.trained)
    own = stateless.tensors(network)
    wanted = [*mine.values(), *(own[name] for name in play.trained)]

    def both(model: nn.Module) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        loss = scalar_of(play.loss, model, batch, noise)
        if not loss.requires_grad:
            raise ValueError("loss must depend on the parameters that are trained")
        return loss.detach(), torch.autograd.grad(loss, wanted, allow_unused=True)

    with stateless.untouched(network):
        (loss, gradients), moved = stateless.caller(network)(mine | rest, both)
    for name, gradient in zip(play.trained, gradients[len(mine) :], strict=True):
        if gradient is not None:
            raise ValueError(
                f"{RULE}: a forward or loss uses {name} other than through the network"
            )
    filled = [
        torch.zeros_like(leaf) if gradient is None else gradient.to_dense()
        for leaf, gradient in zip(mine.values(), gradients, strict=False)
    ]
    return _Alone(loss, filled, moved)


def _together(play: Play, gradient: Gradient) -> tuple[list[Tensor], Tensor]:
    """Return gradients and losses of the stack."""
    state, batch, noise = tree_map(torch.clone, (play.stack.state, play.batch, play.noise))
    with stateless.untouched(play.stack.networks[0]):
        gradients, losses, _ = gradient(*leaves(state, play.trained), batch, noise)
    return gradients, losses


def _compare(
    play: Play,
    gradient: Gradient,
    outcome: tuple[list[Tensor], Tensor],
    first: _Alone,
    eps: float,
) -> None:
    """Raise where the stack and its networks disagree by more than rounding explains."""
    gaps = _gaps(play, outcome, first, eps)
    if gaps:  # a sum in another order, at a kink of the loss? That is gone in float64
        state, batch, noise = tree_map(_wide, (play.stack.state, play.batch, play.noise))
        wide = Play(replace(play.stack, state=state), play.loss, play.trained, batch, noise)
        try:
            first, watch, _ = _watched(wide)
            gaps, play = _gaps(wide, _together(wide, gradient), first, watch.eps), wide
        except RuntimeError:  # it runs in its own precision only
            gaps = [gap for gap in gaps if not gap.ratio < 0.05]
    if gaps:
        raise ValueError(_explained(play, gaps))


def _gaps(
    play: Play, outcome: tuple[list[Tensor], Tensor], first: _Alone, eps: float
) -> list[_Gap]:
    """Return where the stack differs from its networks by more than this precision explains."""
    rows, (gradients, losses) = _rows(play), outcome
    alone = [first, *(_alone(play, row) for row in rows[1:])]
    together = {None: losses, **dict(zip(play.trained, gradients, strict=True))}
    apart = zip(*([one.loss, *one.gradients] for one in alone), strict=True)
    pairs = {
        what: (_flat(value[rows]), _flat(torch.stack(own)))
        for (what, value), own in zip(together.items(), apart, strict=True)
        if value.numel()
    }
    sizes = {what: own.abs().amax(1) for what, (_, own) in pairs.items()}
    sound = torch.stack(list(sizes.values())).isfinite().all(0)
    # What is 0 but for rounding is small beside the largest gradient, and beside a loss of 1.
    floor = torch.stack([size for what, size in sizes.items() if what is not None]).amax(0)
    tolerance, gaps = eps**0.375, []
    for what, (stacked, own) in pairs.items():
        gap, size = (stacked - own).abs().amax(1), sizes[what]
        bound = tolerance * (size + tolerance * (1 if what is None else floor))
        bad = sound & ~(gap <= bound)
        if bad.any():
            ratios = torch.where(bad, gap / size, -1)
            worst = int(ratios.argmax())
            gaps.append(_Gap(what, rows[worst], float(ratios[worst])))
    return gaps


def _explained(play: Play, gaps: list[_Gap]) -> str:
    """Say what disagrees: the first module whose output does, else the gradients that do."""
    row, ratio = gaps[-1].row, gaps[-1].ratio
    what = _module(play, row)
    if what is None:
        named = [
            f"the gradient by {gap.parameter}" if gap.parameter else "the loss" for gap in gaps
        ]
        what = ", ".join(named[:3]) + ", and more" * (len(named) > 3)
    return (
        f"{RULE}: among others, replica {play.stack.replicas[row]} is not what it is alone, "
        f"by {ratio:.2g} of the largest entry in {what}"
    )


def _module(play: Play, row: int) -> str | None:
    """Return the first module of a network whose output in the stack is not its output alone."""
    stack = play.stack

    def outputs(model: nn.Module, batch: Part, noise: Part) -> Tensors:
        found: Tensors = {}

        def note(path: str, module: nn.Module, _: object, out: object) -> None:
            if isinstance(out, Tensor):
                found.setdefault(f"{path or 'the network'}, a {type(module).__name__}", out)

        hooks = [m.register_forward_hook(partial(note, path)) for path, m in model.named_modules()]
        try:
            play.loss(model, batch, noise)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def function(network: nn.Module, mine: Tensors, rest: Tensors, *given: Part) -> Tensors:
        with stateless.untouched(network):
            return stateless.caller(network)(mine | rest, outputs, *given)[0]

    state, *given = tree_map(torch.clone, (stack.state, play.batch, play.noise))
    given = *leaves(state, play.trained), *given
    mine = tree_map(lambda value: value[row].clone(), given)
    first = stack.networks[0]
    with torch.no_grad():
        together = each(partial(function, first), first, len(stack.replicas))(*given)
        alone = function(stack.networks[row], *mine)
    for what, own in alone.items():
        gap = (_wide(together[what][row]) - _wide(own)).abs()
        if not (gap <= 1e-3 * _wide(own).abs().max()).all():
            return f"the output of {what}"
    return None


def _wide(value: Tensor) -> Tensor:
    """Return a tensor in double precision, if it is of real or complex numbers."""
    if value.is_complex():
        return value.to(torch.complex128)
    return value.double() if value.is_floating_point() else value


def _flat(value: Tensor) -> Tensor:
    return _wide(value.detach()).reshape(len(value), -1)
