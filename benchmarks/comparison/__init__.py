"""The parts of benchmarks/compare.py: one job a file.

works: what is measured, with the targets; material: weights and tokens that all engines share;
in_tinytape, in_torch, in_jax: the same work three times; floor, products: what the machine allows;
worker: the process of one engine; crew: all workers, asked in turn; measure, growth: who is asked
what; report: tables; machine: where it ran.
"""
