"""Memory over the training step, again and again: flat, beside a loop that never lets go.

    python benchmarks/memory.py [--iters 10000] [--model small] [--json FILE] [--png FILE]

The same loop runs twice, each time in a process of its own: as everybody writes it, and keeping
every loss together with its graph (``backward(retain_graph=True)``), so that the tape is never
released; that one ends at ``--limit`` MB. After each interval both note the resident memory that
the kernel tells, the high-water mark of the step arena, and the blocks and bytes in use. Exits with
1 when the plain loop is not flat: blocks and bytes at the end as at iteration 200, and the process
larger by no more than 1 MB.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tinytape as tt
from tinytape import models, nn, optim
from tinytape.nn import functional as F

VOCABULARY = 65
SETTLED = 200
MOST_GROWTH = 2**20
BLOCKS = ("parameters", "state", "data", "meta")


def resident() -> int:
    """Bytes of this process that are in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def note(step: int) -> dict[str, int]:
    gc.collect()
    stats = tt.memory_stats()
    return {
        "step": step,
        "resident_bytes": resident(),
        "arena_high_water_bytes": stats["step_high_water"],
        "arena_capacity_bytes": stats["step_capacity"],
        "live_blocks": sum(stats[f"{pool}_blocks"] for pool in BLOCKS),
        "live_bytes": sum(stats[f"{pool}_bytes"] for pool in BLOCKS)
        + stats["step_used"]
        + stats["kept_used"],
        "tape_nodes": stats["tape_nodes"],
        "system_allocations": stats["system_allocations"],
        "system_bytes": stats["system_bytes"],
    }


def loop(args: argparse.Namespace) -> None:
    """Train, and print a line of JSON after each interval."""
    released = args.loop == "released"
    model = models.create(args.model, VOCABULARY)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    shape = (args.batch_size, model.config.context)
    count = shape[0] * shape[1]
    kept = []
    print(json.dumps(note(0)), flush=True)
    for step in range(1, args.iters + 1):
        text = tt.random.philox_u64(1, 0, 2 * step * count, 2 * count) % VOCABULARY
        x, y = text.astype("int64").reshape(2, *shape)
        logits = model(tt.tensor(x))
        loss = F.cross_entropy(logits.reshape(-1, VOCABULARY), tt.tensor(y).reshape(-1))
        loss.backward(retain_graph=not released)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if not released:
            kept.append(loss)
        del logits, loss
        early = step < args.interval or not released  # where the curves rise
        if early or step % args.interval == 0 or step in (SETTLED, args.iters):
            print(json.dumps(note(step)), flush=True)
        if resident() > args.limit * 1e6:
            break


def watch(args: argparse.Namespace, which: str) -> list[dict[str, int]]:
    """Run a loop in a process of its own and show how far it is."""
    command = [sys.executable, __file__, "--loop", which]
    for name in ("iters", "interval", "limit", "batch_size", "model"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    notes, shown = [], 0.0
    for line in process.stdout:
        notes.append(json.loads(line))
        now = time.monotonic()
        if sys.stderr.isatty() and now - shown > 0.2:
            at = notes[-1]
            sys.stderr.write(
                f"\r{which}: iteration {at['step']:,} of {args.iters:,}, "
                f"{at['resident_bytes'] / 1e6:,.1f} MB resident  "
            )
            shown = now
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    if process.wait():
        raise SystemExit(f"the loop ended with status {process.returncode}")
    return notes


def draw(path: Path, args: argparse.Namespace, plain: list[Any], kept: list[Any]) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit(
            f"drawing needs matplotlib ({error}); install it with: pip install 'tinytape[plot]'"
        ) from error
    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    mb = 1e-6

    def curve(notes: list[Any], key: str, **style: Any) -> None:
        points = [n for n in notes if n["step"] > 0]
        axes.plot([n["step"] for n in points], [n[key] * mb for n in points], **style)

    red, blue, dashes = "#cb181d", "#08519c", (0, (3, 2))
    curve(kept, "resident_bytes", color=red, linewidth=2)
    curve(kept, "arena_high_water_bytes", color=red, linewidth=1.5, linestyle=dashes)
    curve(plain, "resident_bytes", color=blue, linewidth=2)
    curve(plain, "arena_high_water_bytes", color=blue, linewidth=1.5, linestyle=dashes)
    end, last = kept[-1], plain[-1]
    stopped = end["step"] < args.iters
    if stopped:
        axes.plot(end["step"], end["resident_bytes"] * mb, "x", color=red, markersize=8, mew=2)
    axes.annotate(
        "every graph kept:\nresident (solid), step arena (dashed)"
        + (f"\nstopped at {args.limit:,} MB, step {end['step']:,}" if stopped else ""),
        (end["step"], end["resident_bytes"] * mb),
        xytext=(12, 4),
        va="top",
        textcoords="offset points",
        color=red,
        fontsize=9,
    )
    for key, what in (
        ("resident_bytes", "resident"),
        ("arena_high_water_bytes", "step arena, high-water mark"),
    ):
        axes.annotate(
            f"{what}: {last[key] * mb:,.1f} MB",
            (last["step"], last[key] * mb),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            color=blue,
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.9, 1.1 * args.iters)
    axes.set_ylim(top=1.5 * end["resident_bytes"] * mb)
    axes.set_xlabel("training step")
    axes.set_ylabel("MB")
    title = f"Memory of a training loop: {args.model}, batch {args.batch_size}"
    axes.set_title(title + f", {last['step']:,} steps", loc="left")
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def judge(notes: list[dict[str, int]]) -> dict[str, Any]:
    """What the plain loop had at iteration 200 and at the end."""
    early = next(n for n in notes if n["step"] == SETTLED)
    late = notes[-1]
    same = (
        "live_blocks",
        "live_bytes",
        "arena_high_water_bytes",
        "arena_capacity_bytes",
        "tape_nodes",
        "system_allocations",
        "system_bytes",
    )
    growth = late["resident_bytes"] - early["resident_bytes"]
    return {
        "compared": [early["step"], late["step"]],
        **{key: [early[key], late[key]] for key in same},
        "resident_bytes": [early["resident_bytes"], late["resident_bytes"]],
        "resident_growth_bytes": growth,
        "flat": growth <= MOST_GROWTH and all(early[key] == late[key] for key in same),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n    python")[0],
        epilog=__doc__.split("FILE]\n\n")[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--iters", type=int, default=10_000, help="training steps (default: %(default)s)")
    add("--model", default="small", help="preset (default: %(default)s)")
    add("--batch-size", type=int, default=4, help="windows per step (default: %(default)s)")
    add("--interval", type=int, default=50, help="steps between notes (default: %(default)s)")
    add(
        "--limit",
        type=int,
        default=1000,
        metavar="MB",
        help="where the loop that keeps its graphs is stopped (default: %(default)s)",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path("runs/memory.json"),
        help="all that was noted (default: %(default)s)",
    )
    add(
        "--png",
        type=Path,
        metavar="FILE",
        default=Path("runs/memory.png"),
        help="the curves (default: %(default)s)",
    )
    add("--loop", choices=("released", "kept"), help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    if args.iters <= SETTLED:
        parser.error(f"--iters: expected more than {SETTLED}, got {args.iters}")
    if args.model not in models.presets():
        parser.error(f"--model: expected one of {', '.join(models.presets())}; got {args.model}")
    if args.interval < 1 or args.batch_size < 1 or args.limit < 1:
        parser.error("--interval, --batch-size and --limit: expected at least 1")
    if not Path("/proc/self/statm").exists():
        parser.error("resident memory is read from /proc/self/statm, which is not there")
    if args.loop:
        loop(args)
        return 0

    plain, kept = watch(args, "released"), watch(args, "kept")
    verdict = judge(plain)
    early, late = verdict["compared"]
    print(f"{args.model}, batch {args.batch_size}: {early:,} and {late:,} training steps")
    for key in ("live_blocks", "live_bytes", "arena_high_water_bytes", "system_allocations"):
        before, after = verdict[key]
        print(f"  {key.replace('_', ' '):<24}{before:>14,}{after:>14,}")
    before, after = verdict["resident_bytes"]
    growth = f"growth {verdict['resident_growth_bytes']:,} of at most {MOST_GROWTH:,}"
    print(f"  {'resident bytes':<24}{before:>14,}{after:>14,}   {growth}")
    end = kept[-1]
    print(
        f"  with every graph kept: {end['resident_bytes'] / 1e6:,.0f} MB resident after "
        f"{end['step']:,} steps" + (", stopped there" if end["step"] < args.iters else "")
    )
    print("flat" if verdict["flat"] else "NOT FLAT")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": " ".join(["python", *sys.argv]),
        "config": tt.get_config(),
        "verdict": verdict,
        "released": plain,
        "kept": kept,
    }
    args.json.write_text(json.dumps(record, indent=1) + "\n")
    draw(args.png, args, plain, kept)
    print(f"wrote {args.json} and {args.png}")
    return 0 if verdict["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
