"""The studies of the documents that the nested model comes from.

>>> from tinytape.models.nested.studies import STUDIES
>>> STUDIES["delta"].question
'What do delta rules buy?'
"""

from __future__ import annotations

from typing import Any

from ..spec import RANDOM, Study, Variant


def _surprise(weights: str, mode: str = "detached") -> dict[str, Any]:
    return {"model": "nested-surprise", "surprise": mode, "surprise_weights": weights}


_SURPRISE = (
    Variant("off", {"model": "nested-state"}, "53.60"),
    Variant("detached, low", _surprise("0.01,0.002"), "53.24"),
    Variant("detached, medium", _surprise("0.05,0.01"), "52.12"),
    Variant("detached, high", _surprise("0.3,0.1")),
    Variant("second order, medium", _surprise("0.05,0.01", "second_order")),
    Variant("teach, medium", _surprise("0.05,0.01", "teach")),
)

STUDIES: dict[str, Study] = {
    "persistent": Study(
        "What do states buy that last from batch to batch?",
        (
            Variant("states begin anew in every batch", {"model": "nested"}, "52.58"),
            Variant("states last", {"model": "nested-state"}, "52.01"),
            Variant("states last, surprise", {"model": "nested-surprise"}, "50.20"),
            Variant(
                "states last, twice the sequence", {"model": "nested-state"}, "51.62", longer=2
            ),
        ),
        {"context": 128},
    ),
    "surprise": Study(
        "What does a surprise loss buy, on a text and where there is nothing to learn?",
        (
            *_SURPRISE,
            Variant("random text: off", {"model": "nested-state"}, "0.8834 (loss)", RANDOM),
            Variant("random text: detached, high", _surprise("0.3,0.1"), "0.9282 (loss)", RANDOM),
        ),
    ),
    "delta": Study(
        "What do delta rules buy?",
        (
            Variant("AdamW", {"optimizer": "adamw"}, "53.60"),
            Variant("Muon", {"optimizer": "muon"}),
            Variant("DeltaAdam", {"optimizer": "delta_adam"}),
            Variant("SGD", {"optimizer": "sgd"}),
            Variant("SGD without momentum", {"optimizer": "sgd", "beta1": 0.0}),
            Variant("DeltaRule", {"optimizer": "delta_rule"}, "66.58"),
            Variant("DeltaMomentum", {"optimizer": "delta_momentum"}),
            Variant("DGD", {"optimizer": "dgd", "lr": 1.0}),
        ),
        {"model": "nested-state"},
    ),
    "memory": Study(
        "What do memories of slower levels buy, and forgetting where a chapter begins?",
        (
            Variant("states last"),
            Variant("memories of 4 and 16 batches", {"level_memory": "4,16"}),
            Variant("memories of 16 and 256 batches", {"level_memory": "16,256"}),
            Variant("states last for a chapter", {"reset": "document"}),
            Variant(
                "memories of 16 and 256 batches, for a chapter",
                {"level_memory": "16,256", "reset": "document"},
            ),
        ),
        {"model": "nested-state"},
    ),
    "levels": Study(
        "What do levels buy that are updated less often?",
        (
            Variant("all at every step", {"chunk_sizes": "1,1,1"}),
            Variant("1, 4, 16", {"chunk_sizes": "1,4,16"}),
            Variant("1, 16, 256", {"chunk_sizes": "1,16,256"}),
            Variant("1, 4, 16, nested", {"chunk_sizes": "1,4,16", "wiring": "nested"}),
            Variant("1, 4, 16, independent", {"chunk_sizes": "1,4,16", "wiring": "independent"}),
            Variant(
                "1, 4, 16, sums of SGD",
                {"chunk_sizes": "1,4,16", "optimizer": "sgd", "level_update": "sum"},
            ),
            Variant("the original", {"model": "nested-original"}),
            Variant(
                "the original, rates not divided",
                {"model": "nested-original", "level_rates": "unscaled"},
            ),
            Variant(
                "the original, rates not divided, 2e-3",
                {"model": "nested-original", "level_rates": "unscaled", "lr": 2e-3},
            ),
        ),
        {"model": "nested-state"},
    ),
    "long": Study(
        "How far does a long run come?",
        (
            Variant(
                "all at every step, surprise", {**_surprise("0.3,0.1"), "chunk_sizes": "1,1,1"}
            ),
            Variant("all at every step", {"model": "nested-state", "chunk_sizes": "1,1,1"}),
            Variant(
                "all at every step, Muon",
                {"model": "nested-state", "chunk_sizes": "1,1,1", "optimizer": "muon"},
            ),
            Variant(
                "all at every step, Muon, surprise",
                {**_surprise("0.3,0.1"), "chunk_sizes": "1,1,1", "optimizer": "muon"},
            ),
            Variant("1, 4, 16", {"model": "nested-state"}),
            Variant(
                "the original wiring, one Adam",
                {
                    "model": "nested-original",
                    "chunk_sizes": "1,1,1",
                    "level_update": "mean",
                    "lr": 2e-3,
                },
            ),
            Variant("the original", {"model": "nested-original"}, "4.64 after 50,000"),
        ),
        iters=2500,
        milestones=(250, 500, 1000, 2500, 5000, 10000, 25000, 50000),
    ),
}
