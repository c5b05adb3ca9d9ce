"""Evidence: effects with intervals, claims in parts, and verdicts that follow by one rule."""

from actnorm.evidence.claims import Claim, Judgement
from actnorm.evidence.comparison import Comparison, Rounding, compare, rounding
from actnorm.evidence.effects import (
    LEVEL,
    Effect,
    crossed,
    deviation,
    mean_effect,
    median_effect,
    paired_effect,
    proportion,
    ratio_effect,
)
from actnorm.evidence.ledger import holm, ledger
from actnorm.evidence.origin import RECORD, RERUN
from actnorm.evidence.parts import KINDS, NOT_MEASURED, REGISTERED, ROLES, Part, word
from actnorm.evidence.records import MIME, PACKAGE, digest, effect_from, entry_of, history, records
from actnorm.evidence.registry import claim, margins, pages, registry, sources
from actnorm.evidence.verdicts import verdict

__all__ = [
    "KINDS",
    "LEVEL",
    "MIME",
    "NOT_MEASURED",
    "PACKAGE",
    "RECORD",
    "REGISTERED",
    "RERUN",
    "ROLES",
    "Claim",
    "Comparison",
    "Effect",
    "Judgement",
    "Part",
    "Rounding",
    "claim",
    "compare",
    "crossed",
    "deviation",
    "digest",
    "effect_from",
    "entry_of",
    "history",
    "holm",
    "ledger",
    "margins",
    "mean_effect",
    "median_effect",
    "pages",
    "paired_effect",
    "proportion",
    "ratio_effect",
    "records",
    "registry",
    "rounding",
    "sources",
    "verdict",
    "word",
]
