"""Images of handwritten digits, cut once into a pool for tuning and one for judging."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from actnorm import environment
from actnorm.data.splits import Draw, Split, cut


@lru_cache
def _digits_pools() -> dict[str, tuple[Tensor, Tensor]]:
    bunch = load_digits()
    inputs = torch.tensor(bunch.data / 16, dtype=torch.float32, device="cpu")
    targets = torch.tensor(bunch.target, dtype=torch.int64, device="cpu")
    order = torch.from_numpy(np.random.default_rng(20_240_229).permutation(len(targets)))
    tuning, judging = order[:597], order[597:]
    return {
        name: (inputs[rows], targets[rows])
        for name, rows in (("tuning", tuning), ("judging", judging))
    }


def digits(pool: str = "judging", *, standardize: bool = True) -> Draw:
    """Return a draw of splits of scikit-learn's handwritten digits (8 by 8 pixels, 10 classes).

    The 1,797 images are cut once into two pools: ``tuning`` (597), on which learning rates are
    chosen, and ``judging`` (1,200), on which claims are judged. Each replica shuffles one pool
    with its ``split`` stream and cuts it two thirds, one sixth, one sixth. In a rehearsal
    (``ACTNORM_POOL=tuning``) both names stand for the tuning pool.

    Parameters
    ----------
    pool
        ``judging`` or ``tuning``.
    standardize
        Give each pixel mean 0 and standard deviation 1 on the train part (pixels that never vary
        stay 0). Otherwise pixels are ink between 0 and 1.

    Returns
    -------
    Callable from a `torch.Generator` to a `Split` of ``(inputs (n, 64) float32, targets (n,))``.

    Notes
    -----
    E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, CC BY 4.0; as bundled with scikit-learn.
    """
    inputs, targets = _digits_pools()[environment.pool(pool)]

    def draw(generator: torch.Generator) -> Split:
        order = torch.randperm(len(targets), generator=generator, device="cpu")
        x = inputs
        if standardize:
            train = order[: len(order) - 2 * (len(order) // 6)]
            scale = x[train].std(0, correction=0)
            x = torch.where(scale > 0, (x - x[train].mean(0)) / scale.clamp_min(1e-12), 0.0)
        return cut((x, targets), order)

    return draw
