"""A re-run against the record."""

import numpy as np
from made import part

from actnorm import evidence


def test_a_rerun_contradicts_by_verdict_or_by_effect():
    rng = np.random.default_rng(9)
    p = part("greater", 0.2)
    recorded = evidence.mean_effect(rng.normal(1, 0.1, 40))
    again = evidence.mean_effect(rng.normal(1, 0.1, 40))
    assert evidence.contradiction(p, again, recorded) is None
    assert evidence.contradiction(p, recorded, recorded) is None
    reversed_ = evidence.mean_effect(rng.normal(-1, 0.1, 40))
    assert "recorded holds, now fails" in evidence.contradiction(p, reversed_, recorded)
    other = evidence.mean_effect(rng.normal(1.3, 0.1, 40))
    assert "recorded" in evidence.contradiction(p, other, recorded)
