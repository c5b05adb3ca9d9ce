"""Evidence: effects with intervals, claims in parts, and verdicts that follow by one rule."""

from actnorm.evidence.claims import Claim, Judgement
from actnorm.evidence.comparison import contradiction
from actnorm.evidence.effects import (
    LEVEL,
    Effect,
    deviation,
    mean_effect,
    median_effect,
    paired_effect,
    proportion,
    ratio_effect,
)
from actnorm.evidence.ledger import holm, ledger
from actnorm.evidence.parts import KINDS, NOT_MEASURED, REGISTERED, ROLES, Part, word
from actnorm.evidence.records import MIME, PACKAGE, digest, effect_from, entry_of, records
from actnorm.evidence.registry import claim, registry, sources
from actnorm.evidence.verdicts import verdict

__all__ = [
    "KINDS",
    "LEVEL",
    "MIME",
    "NOT_MEASURED",
    "PACKAGE",
    "REGISTERED",
    "ROLES",
    "Claim",
    "Effect",
    "Judgement",
    "Part",
    "claim",
    "contradiction",
    "deviation",
    "digest",
    "effect_from",
    "entry_of",
    "holm",
    "ledger",
    "mean_effect",
    "median_effect",
    "paired_effect",
    "proportion",
    "ratio_effect",
    "records",
    "registry",
    "sources",
    "verdict",
    "word",
]
