"""Which of torch's functions are activations, normalizations, mixing, or passed over."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import FunctionType
from typing import NamedTuple

from torch._ops import OpOverload, OpOverloadPacket


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names of torch's functions, without leading and trailing underscores.
_ACTIVATIONS = _names("""
    celu elu expit gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid
    logsigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus softshrink softsign
    special_expit tanh tanhshrink threshold
""")
BY_CHANNEL = _names("batch_norm group_norm instance_norm local_response_norm")
BY_SHAPE = _names("layer_norm rms_norm")
# Seen and passed over: arithmetic, shapes, pooling, dropout, losses, attention (its softmax is
# over positions, no activation of a unit). What is in no list is reported as not recognised.
_PASSED_OVER = _names("""
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d add adjoint
    alias alpha_dropout arange argmax assert assert_scalar assert_tensor_metadata avg_pool1d
    avg_pool2d avg_pool3d binary_cross_entropy binary_cross_entropy_with_logits bool
    broadcast_to cat chunk clone contiguous copy cpu cross_entropy cuda detach dim div double
    dropout dropout1d dropout2d dropout3d embedding_bag empty eq expand expand_as
    feature_alpha_dropout flatten float full gather ge get getitem gt half iadd idiv imul
    index_select interpolate is_floating_point isub itruediv l1_loss le len lift_fresh_copy
    log_softmax lt masked_fill max_pool1d max_pool2d max_pool3d mean moveaxis movedim mse_loss
    mul multi_head_attention_forward narrow native_dropout ne neg new_empty new_full new_ones
    new_zeros nll_loss normalize numel ones ones_like pad permute pixel_shuffle pixel_unshuffle
    radd rand rand_like randn randn_like ravel repeat reshape reshape_as rmul roll rsub rtruediv
    scaled_dot_product_attention select set set_grad_enabled setitem size slice softmax softmin
    split squeeze stack stride sub sum swapaxes swapdims sym_size t tile to transpose truediv
    type type_as unbind unflatten unsafe_view unsqueeze view view_as zeros zeros_like
""")
_MIXING: dict[str, int | None] = {
    **dict.fromkeys(("bilinear", "embedding", "linear"), -1),
    **{f"conv{kind}{d}d": -1 - d for kind in ("", "_transpose") for d in (1, 2, 3)},
    **dict.fromkeys(("addmm", "baddbmm", "bmm", "convolution", "einsum", "matmul", "mm")),
}
_NATIVE = {
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "native_batch_norm": "batch_norm",
    "native_batch_norm_legit": "batch_norm",
    "native_batch_norm_legit_functional": "batch_norm",
    "native_batch_norm_legit_no_training": "batch_norm",
}


class Call(NamedTuple):
    """What is known of a function: all by the function itself, nothing by a module's name.

    ``axis`` is that of the units of what a mixing function returns, where its name tells.
    """

    name: str
    normalizes: bool = False
    measured: bool = False
    mixes: bool = False
    axis: int | None = None
    known: bool = False
    rectifies: bool = False


@lru_cache(maxsize=1024)
def call_of(func: Callable) -> Call:
    """Return what is known of a function that a model calls."""
    name = getattr(func, "__name__", repr(func)).strip("_")
    if isinstance(func, OpOverload | OpOverloadPacket):  # such as aten::relu_.default
        full = func.name() if isinstance(func, OpOverload) else func._qualified_op_name
        namespace, _, name = full.partition("::")
        name = name.partition(".")[0].strip("_")
        if namespace != "aten":
            return Call(f"{namespace}::{name}")
    elif isinstance(func, FunctionType) and f"{func.__module__}.".partition(".")[0] != "torch":
        return Call(f"{func.__module__}.{name}")
    elif name in ("get", "set") and hasattr(func, "__self__"):  # a property of tensors
        return Call(func.__self__.__name__, known=True)
    name = _NATIVE.get(name, name)
    normalizes = name in BY_CHANNEL or name in BY_SHAPE
    measured, mixes = normalizes or name in _ACTIVATIONS, name in _MIXING
    known = measured or mixes or name in _PASSED_OVER
    return Call(name, normalizes, measured, mixes, _MIXING.get(name), known, name == "relu")
