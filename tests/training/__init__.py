"""Runs: settings, the loop, checkpoints, resuming."""
