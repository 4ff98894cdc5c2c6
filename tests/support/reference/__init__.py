"""Independent numpy re-implementations that the engine is judged against."""
