"""The studies that there are: those of the models that come with tinytape."""

from __future__ import annotations

from .. import models
from ..models.spec import Study

STUDIES: dict[str, Study] = {
    name: study for spec in models.specs() for name, study in spec.studies.items()
}
