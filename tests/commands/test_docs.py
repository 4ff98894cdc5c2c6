"""The pages that are written by a program are as it would write them now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_operations_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "ops_table.py", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
