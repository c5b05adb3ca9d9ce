"""Activations and normalization, measured: theory, replicas, probes and evidence."""

from actnorm import (
    activations,
    data,
    descent,
    evidence,
    explorables,
    figures,
    gaussian,
    gradients,
    pictures,
    replicas,
    streams,
)
from actnorm.activations import ACTIVATIONS, Activation, activation
from actnorm.answers import page
from actnorm.evidence import (
    Claim,
    Effect,
    Part,
    claim,
    crossed,
    deviation,
    mean_effect,
    median_effect,
    paired_effect,
    proportion,
    ratio_effect,
)
from actnorm.exercises import check
from actnorm.probe import probe
from actnorm.protocol import recorded
from actnorm.replicas import adam, adamw, sgd, train, tune
from actnorm.streams import stream

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Claim",
    "Effect",
    "Part",
    "activation",
    "activations",
    "adam",
    "adamw",
    "check",
    "claim",
    "crossed",
    "data",
    "descent",
    "deviation",
    "evidence",
    "explorables",
    "figures",
    "gaussian",
    "gradients",
    "mean_effect",
    "median_effect",
    "page",
    "paired_effect",
    "pictures",
    "probe",
    "proportion",
    "ratio_effect",
    "recorded",
    "replicas",
    "sgd",
    "stream",
    "streams",
    "train",
    "tune",
]
