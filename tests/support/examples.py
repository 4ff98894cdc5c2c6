"""How many examples the property tests draw: the only file that reads TINYTAPE_EXAMPLES.

Examples depend on the test alone, so a failure comes again in the next run. TINYTAPE_EXAMPLES=5000
draws more of them.
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
