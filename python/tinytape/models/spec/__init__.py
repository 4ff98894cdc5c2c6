"""The parts of a model that training needs, with a default for each.

A model's file makes one :class:`ModelSpec` and gives it to ``models.register``; ``docs`` has a
tutorial, ``tutorial-model.md``. The classes here know nothing of runs and folders; ``training``
uses them.

>>> from tinytape.models.spec import ModelSpec, StreamTask, WindowTask
>>> ModelSpec.task is WindowTask, issubclass(StreamTask, WindowTask)
(True, True)
"""

from .evaluate import EVALUATION_ROWS, held_out_loss, perplexity, stream_loss
from .model_spec import ADAM_LIKE, ModelSpec, common_defaults
from .protocol import Cache, LanguageModel
from .recurrent_state import RecurrentState
from .schedule import learning_rate
from .study import RANDOM, Study, Variant
from .tasks import StreamTask, WindowTask, as_saved, cross_entropy, remembered
from .train_settings import RUN, TrainSettings
from .updates import WITH_INPUTS, Updates, build_optimizer, keep_settings

__all__ = [
    "ADAM_LIKE",
    "EVALUATION_ROWS",
    "RANDOM",
    "RUN",
    "WITH_INPUTS",
    "Cache",
    "LanguageModel",
    "ModelSpec",
    "RecurrentState",
    "StreamTask",
    "Study",
    "TrainSettings",
    "Updates",
    "Variant",
    "WindowTask",
    "as_saved",
    "build_optimizer",
    "common_defaults",
    "cross_entropy",
    "held_out_loss",
    "keep_settings",
    "learning_rate",
    "perplexity",
    "remembered",
    "stream_loss",
]
