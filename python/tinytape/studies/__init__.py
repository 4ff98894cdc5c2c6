"""Studies: one question, several configurations, several seeds, each a training run of its own.

>>> from tinytape.studies import STUDIES
>>> study = STUDIES["delta"]
>>> study.question, len(study.variants)
('What do delta rules buy?', 8)
"""

from ..models.spec import Study, Variant
from .catalogue import STUDIES
from .report import markdown, summary
from .runs import run_study

__all__ = ["STUDIES", "Study", "Variant", "markdown", "run_study", "summary"]
