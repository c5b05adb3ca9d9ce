"""Read any model while it runs: what enters and leaves its activations and normalizations."""

from actnorm.probe.report import Probe, probe

__all__ = ["Probe", "probe"]
