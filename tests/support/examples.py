"""How many examples the property tests draw: the one place that reads TINYTAPE_EXAMPLES.

Examples are derived from the test alone, so that a failure is there again the next time; more of
them (TINYTAPE_EXAMPLES=5000) are for a longer look.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("TINYTAPE_EXAMPLES", "200"))


def drawn(share: float = 1.0) -> settings:
    """Settings of a property test that needs this share of the examples."""
    return settings(
        max_examples=max(1, round(share * EXAMPLES)),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
