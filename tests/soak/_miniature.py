"""A run so small that it can be broken a million times: a GPT of a few hundred weights."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import tinytape as tt
from tinytape import models
from tinytape.data import CharTokenizer
from tinytape.nn import functional as F
from tinytape.training.arrays import pack_arrays
from tinytape.training.checkpoint import MANIFEST, save_checkpoint
from tinytape.training.config import TrainConfig, resolve
from tinytape.training.environment import environment
from tinytape.training.json_records import pack_json
from tinytape.training.session import Counters, build_optimizer
from tinytape.training.state_tree import split_state

TEXT = "abacabadabacaba\n"
SIZES = {"architecture": "gpt", "context": 4, "width": 4, "heads": 2, "layers": 1, "dropout": 0.0}
CONFIG = resolve(TrainConfig(model="tiny", data="abacaba.txt", iters=100, lr=0.01))


def write_run(folder: Path, steps: tuple[int, ...] = (1, 2)) -> Path:
    """A run folder with a checkpoint of each of these steps, a tokenizer and final weights."""
    tokenizer = CharTokenizer.from_text(TEXT)
    generator = tt.Generator(1)
    model = models.from_config({**SIZES, "vocab_size": tokenizer.vocab_size}, generator=generator)
    optimizer = build_optimizer(model, CONFIG)
    scheduler = tt.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    config = {
        "format": "tinytape-run", "version": 1,
        "train": dataclasses.asdict(CONFIG), "model": model.config.to_dict(),
        "corpus": {
            "name": "abacaba", "path": "abacaba.txt", "sha256": _sha256(TEXT),
            "characters": len(TEXT), "vocab_size": tokenizer.vocab_size,
            "entropy_nats": {"unigram": 1.25, "bigram": 0.5},
        },
    }  # fmt: skip
    ids = tokenizer.encode(TEXT)
    for step in range(1, max(steps) + 1):
        logits = model(tt.tensor(ids[:4].reshape(1, 4)))
        loss = F.cross_entropy(logits.reshape(-1, tokenizer.vocab_size), tt.tensor(ids[1:5]))
        loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step not in steps:
            continue
        state, arrays = split_state(optimizer.state_dict(), "optimizer")
        counters = Counters(
            step=step, loss_sum=1.5, loss_count=1, evaluated_step=step, held_out_loss=1.5,
            best_loss=1.5, best_step=step, grad_norm=0.75, seconds=2.0,
        )  # fmt: skip
        save_checkpoint(
            folder / "checkpoints", step,
            model=dict(model.state_dict()), arrays=arrays, config=config, env=environment(),
            state={
                "optimizer": state, "scheduler": scheduler.state_dict(),
                "generators": {"model": generator.get_state()},
                "data": {"sha256": _sha256(TEXT), "seed": 1, "next_batch": step},
                "counters": dataclasses.asdict(counters),
            },
        )  # fmt: skip
    (folder / "config.json").write_bytes(pack_json(config))
    tokenizer.save(folder / "tokenizer.json")
    (folder / "model.safetensors").write_bytes(pack_arrays(model.state_dict()))
    return folder


def manifest_of(files: dict[str, bytes], step: int) -> bytes:
    """A manifest that fits these contents, whatever they are."""
    entries: dict[str, Any] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return pack_json(
        {"format": "tinytape-checkpoint", "version": 1, "step": step, "files": entries}
    )


def seal(path: Path) -> None:
    """Give a checkpoint folder that was tampered with a manifest that fits."""
    files = {p.name: p.read_bytes() for p in path.iterdir() if p.name != MANIFEST}
    (path / MANIFEST).write_bytes(manifest_of(files, int(path.name.split("-")[1])))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
