"""A rate for all replicas, or one for each."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from loops import SEED, blobs, mlp

from actnorm import replicas as rp

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_rate_per_replica_equals_one_call_per_rate():
    rates = [0.1, 0.03, 0.03, 0.1]
    for make in (rp.sgd, rp.adam, partial(rp.sgd, momentum=0.9), rp.adamw):
        train = partial(rp.train, mlp, blobs(), steps=15, batch_size=16, seed=SEED)
        mixed = train(optimizer=make(rates), replicas=[0, 1, 2, 0], schedule=lambda s: 1 / (1 + s))
        for column, (rate, replica) in enumerate(zip(rates, [0, 1, 2, 0], strict=True)):
            one = train(optimizer=make(rate), replicas=[replica], schedule=lambda s: 1 / (1 + s))
            np.testing.assert_allclose(mixed.losses[:, column], one.losses[:, 0], atol=1e-9)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), [0.1, 0.0]])
def test_rates_are_positive(rate):
    with pytest.raises(ValueError, match="lr must be a positive number"):
        rp.adam(rate)
