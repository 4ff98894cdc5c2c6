"""Backward passes, hooks, Functions, anomaly detection, and functions of functions."""
