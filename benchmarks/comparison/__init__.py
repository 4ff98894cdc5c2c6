"""The parts of benchmarks/compare.py: one job a file.

cases: what is measured, with the targets; inputs: weights and tokens that all engines share;
in_tinytape, in_torch, in_jax: the cases in each engine; roofline, products: the least time that the
machine allows; worker: runs in the process of one engine; engine_process: starts that process and
asks it; measure, growth: the order of the questions; report: tables; machine: where it ran.
"""
