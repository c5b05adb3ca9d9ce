"""A pretend card on a bare machine: ``python tests/card.py [ARGUMENTS]`` rehearses the GPU script.

Its tensors say that they live on ``card:0`` and compute on the CPU. What it has of a real card is
the border: an operation that mixes its tensors with the CPU's raises, and so does a draw on it from
a generator of the CPU. Packages that only draw and present are missing.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("card")
torch.__future__.set_overwrite_module_params_on_conversion(True)  # .data cannot swap what is held
aten = torch.ops.aten
CROSSING = {aten._to_copy.default, aten.copy_.default, aten.index.Tensor, aten.index_put_.default}
LIBRARY = torch.library.Library("aten", "IMPL")


class Card(Tensor):
    """A tensor that says it is on the card; ``held`` is the one that computes."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Card:
        sizes = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        card = Tensor._make_wrapper_subclass(
            cls, held.size(), dtype=held.dtype, device="card:0", **sizes
        )
        card.held = held
        return card

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


class Machine(TorchDispatchMode):
    """A machine that has the card, while it is entered."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def call(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run one operation where its tensors live."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    cards = [x for x in tensors if isinstance(x, Card)]
    if "device" in kwargs and kwargs["device"] is not None:
        there = torch.device(kwargs["device"]).type == "card"
        kwargs = kwargs | {"device": torch.device("cpu")}
    else:
        there = isinstance(args[0], Card) if func is aten.copy_.default else bool(cards)
    strangers = [x for x in tensors if not isinstance(x, Card) and x.ndim]
    if cards and strangers and func not in CROSSING:
        raise RuntimeError(f"{func}: expected all tensors on one device, found card and cpu")
    if there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: expected a generator of the card, found one of the CPU")
    out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if there:
        out = tree_map(lambda x: Card(x) if isinstance(x, Tensor) else x, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if cards else out


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Card) else x


@torch.library.impl(LIBRARY, "empty_strided", "PrivateUse1")
def empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> Tensor:
    return Card(torch.empty_strided(size, stride, dtype=dtype))


@torch.library.impl(LIBRARY, "_copy_from", "PrivateUse1")
def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _held(target).copy_(_held(source))
    return target


class Bare:
    """Keeps packages that a bare machine lacks from being found."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name in ("IPython", "altair", "ipywidgets", "matplotlib", "seaborn"):
            raise ModuleNotFoundError(name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Bare)
    from benchmarks.gpu.__main__ import main

    with Machine():
        sys.exit(main(["--device", "card:0", *sys.argv[1:]]))
