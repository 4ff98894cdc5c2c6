"""Names that other trainers use, and their names here.

>>> from tinytape.training.spellings import meant
>>> meant("--learning-rate", ["--lr", "--iters"])
'did you mean --lr?'
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SAME = {
    "accumulate": "gradient-accumulation-steps",
    "batch": "batch-size",
    "bs": "batch-size",
    "checkpoint": "resume",
    "context-length": "context",
    "corpus": "data",
    "ctx": "context",
    "dataset": "data",
    "eval-every": "eval-interval",
    "eval-steps": "eval-interval",
    "grad-accum": "gradient-accumulation-steps",
    "grad-clip": "clip",
    "init-from": "resume",
    "input": "data",
    "learning-rate": "lr",
    "length": "tokens",
    "lr-decay-iters": "iters",
    "lr-scheduler-type": "schedule",
    "max-grad-norm": "clip",
    "max-iters": "iters",
    "max-length": "tokens",
    "max-new-tokens": "tokens",
    "max-seq-len": "context",
    "max-steps": "iters",
    "max-tokens": "tokens",
    "num-iters": "iters",
    "num-steps": "iters",
    "num-threads": "threads",
    "num-tokens": "tokens",
    "optim": "optimizer",
    "out-dir": "out",
    "output": "out",
    "output-dir": "out",
    "per-device-train-batch-size": "batch-size",
    "preset": "model",
    "resume-from-checkpoint": "resume",
    "save-every": "checkpoint-interval",
    "save-interval": "checkpoint-interval",
    "save-steps": "checkpoint-interval",
    "save-total-limit": "keep",
    "scheduler": "schedule",
    "seq-len": "context",
    "seq-length": "context",
    "sequence-length": "context",
    "start": "prompt",
    "steps": "iters",
    "warmup-iters": "warmup",
    "warmup-steps": "warmup",
    "wd": "weight-decay",
    "window": "context",
}
_EPOCHS = "training is counted in steps, not in passes over the text: {iters}"
_CPU = "everything runs on the CPU"
_OTHER = {
    "compile": "there is nothing to compile",
    "cuda": _CPU,
    "device": _CPU,
    "epochs": _EPOCHS,
    "eval-iters": "the whole held-out text is read at each evaluation",
    "gpu": _CPU,
    "gpus": _CPU,
    "log-interval": "each step is shown; {eval_interval} is for held-out losses",
    "max-epochs": _EPOCHS,
    "momentum": "that of sgd and delta_momentum is {beta1}, that of muon {muon_momentum}",
    "num-epochs": _EPOCHS,
    "num-train-epochs": _EPOCHS,
    "num-workers": "{threads} are what a run has",
    "top-p": "{top_k} is what there is",
}


def meant(name: str, known: Iterable[str]) -> str:
    """The hint for an unknown name: the name that was probably meant, or the empty text.

    Args:
        name: of a flag or of a setting.
        known: the names that there are, spelled as they are to be shown.
    """
    plain = _plain(name)
    names = {_plain(shown): shown for shown in known}
    if plain in _OTHER:
        shown = {key.replace("-", "_"): value for key, value in names.items()}
        try:
            return _OTHER[plain].format(**shown)
        except KeyError:  # of another command
            return ""
    near = (
        [p for p in (plain, _SAME.get(plain)) if p in names]
        or [p for p in names if len(plain) > 1 and p.startswith(plain)][:3]
        or difflib.get_close_matches(plain, names, n=2, cutoff=0.8)
    )
    return f"did you mean {' or '.join(names[p] for p in near)}?" if near else ""


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-").lower()
