"""Copy a shared library under another name: python set_soname.py SOURCE.so DESTINATION.so

The file name of DESTINATION also becomes its SONAME, the name by which the dynamic linker tells
libraries apart, so that the copy is never taken for another one that is already loaded. It is
written over the old one and can therefore not be longer. Little-endian ELF64 only.
"""

import struct
import sys
from pathlib import Path

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_STRTAB, DT_SONAME = 0, 5, 14


def soname_offset(image: bytes) -> int:
    """The place of the SONAME string in the file."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 file")
    (phoff,) = struct.unpack_from("<Q", image, 0x20)
    phentsize, phnum = struct.unpack_from("<HH", image, 0x36)
    segments = []
    for i in range(phnum):
        kind, _, offset, vaddr, _, size = struct.unpack_from(
            "<IIQQQQ", image, phoff + i * phentsize
        )
        segments.append((kind, offset, vaddr, size))

    start = next(offset for kind, offset, _, _ in segments if kind == PT_DYNAMIC)
    entries = {}
    for tag, value in struct.iter_unpack("<qQ", image[start : start + 16 * 256]):
        if tag == DT_NULL:
            break
        entries[tag] = value

    strtab = next(
        offset + entries[DT_STRTAB] - vaddr
        for kind, offset, vaddr, size in segments
        if kind == PT_LOAD and vaddr <= entries[DT_STRTAB] < vaddr + size
    )
    return strtab + entries[DT_SONAME]


def main(source: Path, destination: Path) -> None:
    image = bytearray(source.read_bytes())
    at = soname_offset(image)
    length = image.index(0, at) - at
    name = destination.name.encode()
    if len(name) > length:
        raise ValueError(f"{destination.name!r} is longer than {bytes(image[at : at + length])!r}")
    image[at : at + length] = name.ljust(length, b"\0")
    if destination.exists() and destination.read_bytes() == image:
        return  # its time stays, so that nothing is copied or linked anew
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(image)
    destination.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
