"""Run every benchmark: ``python -m benchmarks``."""

from benchmarks import evidence, gradients, memory, probe, replicas
from benchmarks.timing import finish

for module in (replicas, memory, probe, gradients, evidence):
    print(f"\n{module.__doc__.partition(chr(10))[0]}\n", flush=True)
    finish(module.__name__.rpartition(".")[2], module.measure)
