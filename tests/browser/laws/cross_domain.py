"""What the sliders of cross-domain analogies show, by an independent calculation."""

import math


def lac(repressors, energy, log_dose):
    """Fold change and log odds of a lac promoter: repressors on DNA against none."""
    dose = 10**log_dose
    able, shut = (1 + dose / 139) ** 2, math.exp(-4.5) * (1 + dose / 0.53) ** 2
    bound = repressors * able / (able + shut) * math.exp(-energy) / 4.6e6
    return 1 / (1 + bound), -math.log(bound)


LAWS = {"gene-networks": lac}
