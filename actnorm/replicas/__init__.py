"""Train R networks at once: replica r of seed s is one network, whatever runs beside it.

Parameters of all replicas are stacked, the module's own forward runs under `torch.func.vmap`, one
backward gives every replica its gradient, and a stock fused `torch.optim` steps the stack.
"""

from actnorm.replicas.losses import Evaluate, Loss, classification, cross_entropy
from actnorm.replicas.optimizers import Optimizer, Rate, adam, adamw, sgd
from actnorm.replicas.run import Reached, Record, Run, join
from actnorm.replicas.training import train
from actnorm.replicas.tuning import Tuning, tune

__all__ = [
    "Evaluate",
    "Loss",
    "Optimizer",
    "Rate",
    "Reached",
    "Record",
    "Run",
    "Tuning",
    "adam",
    "adamw",
    "classification",
    "cross_entropy",
    "join",
    "sgd",
    "train",
    "tune",
]
