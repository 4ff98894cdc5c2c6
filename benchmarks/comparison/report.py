"""Tables of a result, as text and as Markdown, with the targets beside what was reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .cases import MEMORY_TARGET, PEERS

TARGET_THREADS = 2
NAMES = {"tinytape": "tinytape", "eager": "PyTorch", "compile": "torch.compile", "jax": "JAX"}
Table = tuple[str, list[str], list[list[str]]]  # title, heading, rows


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1.0 or unit == "µs":
            value = seconds * scale
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def _threads(n: int) -> str:
    return "1 thread" if n == 1 else f"{n} threads"


def _cell(row: dict[str, Any], engine: str) -> str:
    entry = row["engines"].get(engine)
    if entry is None:
        return "-"
    if "min" not in entry:
        return "failed"
    if row["group"] == "generate":
        tokens = row["sizes"]["context"]
        return f"{tokens / entry['min']:,.0f} ({tokens / entry['median']:,.0f}) /s"
    return f"{duration(entry['min'])} ({duration(entry['median'])})"


def _against(row: dict[str, Any], names: Sequence[str], key: str = "min") -> float | None:
    """How many times faster tinytape is than the best of these."""
    ours = row["engines"].get("tinytape", {}).get(key)
    peers = [x[key] for e, x in row["engines"].items() if e in names and key in x]
    return min(peers) / ours if ours and peers else None


def _share(row: dict[str, Any]) -> float | None:
    ours = row["engines"].get("tinytape", {}).get("min")
    floor = (row["floor"] or {}).get("seconds")
    return floor / ours if ours and floor else None


def _verdict(row: dict[str, Any], share: float | None) -> str:
    """The targets, which are for two threads, and whether they were reached."""
    target = row["target"]
    if row["threads"] != TARGET_THREADS:
        return ""
    said = []
    if share is not None and share > 1.0 and target["share"] is not None:
        said.append("share above 100%: noise")  # nothing is faster than its floor
        share = None
    for wanted, got, form in (
        (target["ratio"], _against(row, target["peers"]), "{:.3g}x"),
        (target["share"], share, "{:.0%}"),
    ):
        if wanted is not None and got is not None:
            said.append(f"{form.format(wanted)} {'reached' if got >= wanted else 'missed'}")
    return ", ".join(said)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _timed(result: dict[str, Any], threads: int, group: str, title: str) -> Table | None:
    rows = [r for r in result["works"] if r["threads"] == threads and r["group"] == group]
    if not rows:
        return None
    engines = [e for e in result["engines"] if any(e in r["engines"] for r in rows)]
    heading = ["case", *(NAMES[e] for e in engines), "x best peer"]
    with_roofline = any(r["floor"] for r in rows)
    heading += ["(medians)", *(["floor", "share"] if with_roofline else []), "wanted"]
    cells = []
    for row in rows:
        share = _share(row)
        line = [row["name"], *(_cell(row, e) for e in engines)]
        line += [_number(_against(row, PEERS, key), "{:.2f}") for key in ("min", "median")]
        if with_roofline:
            seconds = (row["floor"] or {}).get("seconds")
            line += ["" if seconds is None else duration(seconds), _number(share, "{:.0%}")]
        cells.append([*line, _verdict(row, share)])
    return f"{title}, {_threads(threads)}: min (median)", heading, cells


def _floors(result: dict[str, Any]) -> Table | None:
    cells = []
    for row in result["works"]:
        floor = row["floor"]
        if not floor or "seconds" not in floor:
            continue
        seconds = floor["products"][floor["product"]]
        others = [f"{n} {duration(s)}" for n, s in floor["products"].items()]
        cells.append(
            [
                row["name"],
                str(row["threads"]),
                f"{floor['flop'] / 1e9:.2f}",
                ", ".join(others),
                f"{floor['flop'] / seconds / 1e9:.0f}",
                f"{floor['bytes'] / 1e6:.1f}",
                f"{floor['bandwidth'] / 1e9:.1f}",
                duration(floor["bytes"] / floor["bandwidth"]),
                duration(floor["seconds"]),
            ]
        )
    heading = ["case", "threads", "GFLOP", "products by", "GFLOP/s", "MB", "GB/s", "bytes", "floor"]
    return ("The floor: products, and bytes over bandwidth", heading, cells) if cells else None


def _speed_ups(result: dict[str, Any]) -> Table | None:
    threads = result["threads"]
    if len(threads) < 2 or threads[0] != 1:
        return None
    by = {(r["name"], r["threads"]): r for r in result["works"] if r["group"] != "ops"}
    names = list(dict.fromkeys(name for name, _ in by))
    cells = []
    for name in names:
        target = next(r for (n, _), r in by.items() if n == name)["target"]["speed_up"]
        for engine in result["engines"]:
            found = [by.get((name, n), {"engines": {}})["engines"] for n in threads]
            times = [entries.get(engine, {}).get("min") for entries in found]
            if times[0] is None:
                continue
            line = ["" if t is None else f"{times[0] / t:.2f}" for t in times[1:]]
            verdict = ""
            if engine == "tinytape" and target and TARGET_THREADS in threads:
                got = times[threads.index(TARGET_THREADS)]
                if got is not None:
                    reached = "reached" if times[0] / got >= target else "missed"
                    verdict = f"{target:.2g} at {TARGET_THREADS} {reached}"
            cells.append([name, NAMES[engine], *line, verdict])
    if not cells:
        return None
    heading = ["case", "engine", *(f"{n} threads" for n in threads[1:]), "wanted"]
    return "Times as fast as with one thread", heading, cells


def _memory(result: dict[str, Any]) -> Table | None:
    if not result["memory"]:
        return None
    eager = next((m for m in result["memory"] if m["engine"] == "eager" and "peak" in m), None)
    cells = []
    for entry in result["memory"]:
        if "peak" not in entry:
            cells.append([NAMES[entry["engine"]], "failed", "", "", ""])
            continue
        of = entry["peak"] / eager["peak"] if eager else None
        verdict = ""
        if entry["engine"] == "tinytape" and of is not None:
            verdict = f"{MEMORY_TARGET:.0%} {'reached' if of <= MEMORY_TARGET else 'missed'}"
        cells.append(
            [
                NAMES[entry["engine"]],
                f"{entry['peak'] / 1e6:.1f}",
                f"{entry['base'] / 1e6:.1f}",
                _number(of, "{:.0%}"),
                verdict,
            ]
        )
    heading = ["engine", "peak MB", "after import MB", "of PyTorch's", "wanted"]
    return "Peak resident memory of a process that trains small at batch 12", heading, cells


def _growth(result: dict[str, Any]) -> list[Table]:
    out: list[Table] = []
    for series in result["growth"]:
        memory = "arena_bytes" if series["engine"] == "tinytape" else "added_bytes"
        cells = []
        for point in series["points"]:
            cells.append(
                [
                    str(point["value"]),
                    duration(point["min"]),
                    duration(point["fitted_seconds"]),
                    f"{point['min'] / point['tokens'] * 1e6:.2f} µs",
                    f"{point['linear_seconds'] / point['tokens'] * 1e6:.2f} µs",
                    f"{point[memory] / 1e6:.2f}",
                    f"{point['fitted_bytes'] / 1e6:.2f}",
                ]
            )
        square = ", with attention's square" if series["what"] == "context" else ""
        title = (
            f"Growth with {series['what']}, {NAMES[series['engine']]}, "
            f"{_threads(series['threads'])} (small, batch 4): furthest from the line{square}: "
            f"time {series['time_off']:.0%}, memory {series['bytes_off']:.0%}"
        )
        kind = "arena" if series["engine"] == "tinytape" else "resident over import"
        heading = [series["what"], "time", "fit", "a token", "without square", f"{kind} MB", "fit"]
        out.append((title, heading, cells))
    return out


def tables(result: dict[str, Any]) -> list[Table]:
    found: list[Table | None] = []
    for threads in result["threads"]:
        found.append(_timed(result, threads, "steps", "One training step"))
        found.append(_timed(result, threads, "generate", "Generation, tokens per second"))
        found.append(_timed(result, threads, "ops", "Single operations, forward and backward"))
    found += [_floors(result), _speed_ups(result), _memory(result)]
    return [t for t in found if t is not None] + _growth(result)


def preface(result: dict[str, Any]) -> list[str]:
    """Where and how, in lines."""
    machine, versions = result["machine"], result["versions"]
    kind = f"{machine['processor']} ({machine['family']})".replace(" ()", "")
    blas = " ".join(
        str(versions[f"tinytape_{k}"])
        for k in ("blas", "blas_version", "blas_core")
        if versions.get(f"tinytape_{k}")
    )
    named = [
        f"{name} {versions[name]}" for name in ("tinytape", "torch", "jax") if name in versions
    ]
    caches = f"L2 {machine['l2_bytes'] / 2**20:.3g} MB, L3 {machine['l3_bytes'] / 2**20:.3g} MB"
    lines = [
        f"{result['date']}, {machine['cpus']} CPUs of {kind}, {machine['level']}, {caches}, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{'virtual, ' if machine['hypervisor'] else ''}load {machine['load']}",
        f"{machine['os']}, Python {machine['python']}; {', '.join(named)}",
        f"tinytape: {blas}, SIMD {versions.get('tinytape_simd', '?')}, "
        f"{versions.get('tinytape_compiler', '')}; PyTorch: {versions.get('torch_blas', 'absent')} "
        f"{versions.get('torch_cpu', '')}; corpus: {result['corpus']['name']}",
        f"{result['rounds']} rounds of {result['seconds']:g} s: {result['command']}",
    ]
    if result["quick"]:
        lines.append("--quick: too short for figures")
    return lines + [f"note: {note}" for note in result["notes"]]


def text(result: dict[str, Any]) -> str:
    parts = ["\n".join(preface(result))]
    for title, heading, rows in tables(result):
        widths = [
            max(len(line[i]) for line in [heading, *rows] if i < len(line))
            for i in range(len(heading))
        ]
        lines = [title, _aligned(heading, widths), "  ".join("-" * w for w in widths)]
        parts.append("\n".join([*lines, *(_aligned(row, widths) for row in rows)]))
    return "\n\n".join(parts)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(w) if i == 0 else cell.rjust(w)
        for i, (cell, w) in enumerate(zip(cells, widths, strict=False))
    )
    return "  ".join([first, *rest]).rstrip()


def markdown(result: dict[str, Any]) -> str:
    parts = ["\n".join(f"- {line}" for line in preface(result))]
    for title, heading, rows in tables(result):
        lines = [" | ".join(line).join(("| ", " |")) for line in [heading, ["---"] * len(heading)]]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        parts.append("\n".join([f"### {title}", "", *lines]))
    return "\n\n".join(parts) + "\n"
