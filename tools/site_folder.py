"""Make a folder for PYTHONPATH: the package, with the core of a build that is not installed.

    python tools/site_folder.py BUILD SITE

It is found before any installed tinytape, an editable one too.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "python" / "tinytape"

# An editable installation is found by an entry of sys.meta_path, before anything on PYTHONPATH.
SITECUSTOMIZE = """import sys

sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
"""


def make_site_folder(build: Path, site: Path) -> None:
    """Replaces what is there."""
    shutil.rmtree(site, ignore_errors=True)
    package = site / "tinytape"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    for core in build.glob("_core*.so"):
        shutil.copy2(core, package)
    if (build / "blas").is_dir():
        shutil.copytree(build / "blas", package / ".libs")
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE, "utf-8")


if __name__ == "__main__":
    make_site_folder(Path(sys.argv[1]), Path(sys.argv[2]))
