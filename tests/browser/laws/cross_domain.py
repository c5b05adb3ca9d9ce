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


def heard(above, k, f):
    """Shares of background words and of motif sites with so many more matches than chance."""
    k, words = round(k), range(round(k) + 1)

    def law(p):
        chances = (math.comb(k, m) * p**m * (1 - p) ** (k - m) for m in words)
        return sum(c for m, c in zip(words, chances, strict=True) if m - k / 4 > above + 1e-9)

    return law(0.25), law(f)


LAWS = {"fold-change": found, "gene-networks": lac, "motifs": heard}
