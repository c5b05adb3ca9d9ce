"""Which of torch's functions are activations, normalizations, mixing, or passed over."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names of torch's functions, without leading and trailing underscores.
ACTIVATIONS = _names("""
    celu elu expit gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid
    logsigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus softshrink softsign
    special_expit tanh tanhshrink threshold
""")
BY_CHANNEL = _names("batch_norm group_norm instance_norm local_response_norm")
NORMALIZATIONS = BY_CHANNEL | {"layer_norm", "rms_norm"}
# Seen and passed over: arithmetic, shapes, pooling, dropout, losses, attention (its softmax is
# over positions, no activation of a unit). What is in no list is reported as not recognised.
PASSED_OVER = _names("""
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d add
    alpha_dropout arange argmax avg_pool1d avg_pool2d avg_pool3d binary_cross_entropy
    binary_cross_entropy_with_logits bool broadcast_to cat chunk clone contiguous cpu
    cross_entropy cuda detach dim div double dropout dropout1d dropout2d dropout3d embedding_bag
    empty eq expand expand_as feature_alpha_dropout flatten float full gather ge get getitem gt
    half iadd idiv imul index_select interpolate is_floating_point isub itruediv l1_loss le len
    log_softmax lt masked_fill max_pool1d max_pool2d max_pool3d mean movedim mse_loss mul
    multi_head_attention_forward narrow ne neg new_empty new_full new_ones new_zeros nll_loss
    normalize numel ones ones_like pad permute pixel_shuffle pixel_unshuffle radd rand rand_like
    randn randn_like repeat reshape rmul roll rsub rtruediv scaled_dot_product_attention select
    set setitem size softmax softmin split squeeze stack stride sub sum t tile to transpose
    truediv type type_as unbind unflatten unsqueeze view view_as zeros zeros_like
""")
MIXING = _names("addmm baddbmm bilinear bmm einsum embedding linear matmul mm")
CONVOLUTIONS = {f"conv{kind}{d}d": -1 - d for kind in ("", "_transpose") for d in (1, 2, 3)}


@lru_cache
def name_of(func: Callable) -> str:
    return getattr(func, "__name__", repr(func)).strip("_")
