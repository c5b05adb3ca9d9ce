"""Parts and effects made by hand."""

from actnorm import evidence


def part(kind, margin, role="core", **more):
    return evidence.Part("p", "asserts", role=role, kind=kind, margin=margin, **more)


def effect(low, high, method="mean"):
    return evidence.Effect((low + high) / 2, low, high, 0.99, 32, method, "", {})
