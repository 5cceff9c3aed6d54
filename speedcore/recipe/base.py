"""What all plain data has in common: it is immutable, and strict about names."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, and strict about names: a misspelt field is an error, not a default."""

    # A run whose loss diverged is a result too: its record must survive the way to disk and back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Part(Frozen):
    """A recipe or a part of one: every number is finite."""

    model_config = ConfigDict(allow_inf_nan=False)
