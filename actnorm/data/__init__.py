"""Data that is bundled or generated: seeded, and cut so that tuning never sees what judges."""

from actnorm.data.arrays import nci60
from actnorm.data.genes import lac_induction
from actnorm.data.images import digits
from actnorm.data.photographs import photographs, picture
from actnorm.data.sequences import motif_counts, splice_sites
from actnorm.data.signals import mixtures, mnist1d
from actnorm.data.splits import Draw, Part, Split

__all__ = [
    "Draw",
    "Part",
    "Split",
    "digits",
    "lac_induction",
    "mixtures",
    "mnist1d",
    "motif_counts",
    "nci60",
    "photographs",
    "picture",
    "splice_sites",
]
