"""Tensors, handles, memory, threads, errors: the engine below autograd, and the build."""
