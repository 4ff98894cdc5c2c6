"""What `import tinytape` adds to `import numpy`: minimum and median over fresh processes.

python benchmarks/import_time.py [--runs N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CODE = """
import time
import numpy
began = time.perf_counter()
import tinytape
print(time.perf_counter() - began)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="processes (default: %(default)s)")
    runs = parser.parse_args().runs
    times = []
    for _ in range(runs + 1):
        done = subprocess.run(
            [sys.executable, "-c", CODE], check=True, capture_output=True, text=True
        )
        times.append(1e3 * float(done.stdout))
    times = times[1:]  # the first fills the page cache
    print(
        f"import tinytape after numpy: min {min(times):.1f} ms, "
        f"median {statistics.median(times):.1f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
