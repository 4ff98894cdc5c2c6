"""Corpora, encodings, tokenizers and batches."""
