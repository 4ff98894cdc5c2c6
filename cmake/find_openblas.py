"""Print "LIBRARY;INCLUDE_DIR;LICENSE" of the installed scipy-openblas32, or fail.

The package is located, not imported: importing it loads the library into the process.
"""

from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

spec = find_spec("scipy_openblas32")
if spec is None or spec.origin is None:
    raise SystemExit("scipy_openblas32 is not installed")
root = Path(spec.origin).parent
library = root / "lib" / "libscipy_openblas.so"
license_file = next(
    Path(str(path.locate()))
    for path in distribution("scipy-openblas32").files or []
    if path.name == "LICENSE.txt"
)
if not library.is_file():
    raise SystemExit(f"{library} does not exist")
print(f"{library};{root / 'include'};{license_file}")
