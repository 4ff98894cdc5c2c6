"""The studies that exist: those of the models that come with tinytape.

>>> from tinytape.studies.catalogue import STUDIES
>>> STUDIES["delta"].question
'What do delta rules buy?'
"""

from __future__ import annotations

from .. import models
from ..models.spec import Study

STUDIES: dict[str, Study] = {
    name: study for spec in models.specs() for name, study in spec.studies.items()
}
