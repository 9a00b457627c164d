"""What all sections of the experiment file share."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the experiment file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
