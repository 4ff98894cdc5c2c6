"""Where it ran."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def cpus_apart() -> list[int]:
    """CPUs of this process, first one of each core, then their siblings; [] where unknown."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    first: list[int] = []
    rest: list[int] = []
    seen: set[str] = set()
    for cpu in sorted(os.sched_getaffinity(0)):
        core = _read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        (rest if core and core in seen else first).append(cpu)
        seen.add(core)
    return first + rest


def cpu_count() -> int:
    return len(cpus_apart()) or os.cpu_count() or 1


def cache_bytes(level: int) -> int:
    """Of the first CPU's cache of that level; 0 where unknown."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if _read(f"{index}/level") == str(level) and _read(f"{index}/type") != "Instruction":
            size = re.fullmatch(r"(\d+)([KM]?)", _read(f"{index}/size"))
            if size:
                return int(size[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20}[size[2]]
    return 0


def _instruction_level(flags: set[str]) -> str:
    """The x86-64 level of the processor, by the features that tinytape's kernels use."""
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
        return "x86-64-v4"
    if {"avx2", "fma", "bmi2"} <= flags:
        return "x86-64-v3"
    return "x86-64-v2" if "sse4_2" in flags else platform.machine()


def describe() -> dict[str, Any]:
    """Processor, memory, system; the load shows whether the machine was quiet."""
    info = _read("/proc/cpuinfo")

    def first(key: str) -> str:
        found = re.search(rf"^{key}\s*:\s*(.*)$", info, re.M)
        return found[1].strip() if found else ""

    memory = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    release = re.search(r'^PRETTY_NAME="?([^"\n]*)', _read("/etc/os-release"), re.M)
    family = ", ".join(f"{key} {first(key)}" for key in ("cpu family", "model", "stepping"))
    return {
        "processor": first("model name") or platform.processor() or platform.machine(),
        "family": family if info else "",
        "hypervisor": "hypervisor" in first("flags").split(),
        "level": _instruction_level(set(first("flags").split())),
        "cpus": cpu_count(),
        "l2_bytes": cache_bytes(2),
        "l3_bytes": cache_bytes(3),
        "memory_bytes": 1024 * int(memory[1]) if memory else 0,
        "os": f"{release[1] if release else platform.system()}, kernel {platform.release()}",
        "python": platform.python_version(),
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else [],
    }
