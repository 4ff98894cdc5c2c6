"""Layers, modules, and the transformer against one in numpy."""
