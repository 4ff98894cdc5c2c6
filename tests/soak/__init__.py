"""Long tests of the promises in docs/reliability.md.

Each module is one promise. The test suite runs all of them briefly (``tests/soak/test_soak.py``);
``make soak`` runs them at full length and records the figures.
"""
