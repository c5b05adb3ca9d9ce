"""What the sliders of cross-domain analogies show, by an independent calculation."""

import math
from statistics import NormalDist


def lac(repressors, energy, log_dose):
    """Fold change and log odds of a lac promoter: repressors on DNA against none."""
    dose = 10**log_dose
    able, shut = (1 + dose / 139) ** 2, math.exp(-4.5) * (1 + dose / 0.53) ** 2
    bound = repressors * able / (able + shut) * math.exp(-energy) / 4.6e6
    return 1 / (1 + bound), -math.log(bound)


def found(cutoff, fold, noise):
    """Shares of genes found up and down by a cutoff on one noisy ratio."""
    law = NormalDist(sigma=noise * 2**0.5)
    up = law.cdf(math.log(fold / (1 + cutoff)))
    return up, law.cdf(math.log(fold * (1 - cutoff))) if cutoff < 1 else 0.0


LAWS = {"fold-change": found, "gene-networks": lac}
