"""What docs/reliability.md promises, tried many times over.

Each module is one promise. The test suite runs all of them briefly (``tests/soak/test_soak.py``);
``make soak`` runs them at full length and writes the figures down.
"""
