"""Write the C source of the Python binding: python build_ffi.py tinytape.h OUTPUT.c"""

import re
import sys
from pathlib import Path

from cffi import FFI

header, output = sys.argv[1:]
match = re.search(
    r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", Path(header).read_text("utf-8"), re.DOTALL
)
if match is None:
    sys.exit(f"{header}: the marker comments 'cffi: begin' and 'cffi: end' are missing")

ffi = FFI()
ffi.cdef(match[1])
ffi.set_source("tinytape._core", '#include "tinytape.h"')
ffi.emit_c_code(output)
