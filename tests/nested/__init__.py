"""Nested models: levels, states, schedules, surprise, and their training."""
