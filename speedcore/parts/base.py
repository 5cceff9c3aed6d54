"""What all plain data has in common: it is immutable, and strict about names."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Frozen(BaseModel):
    """Immutable, and strict about names: a misspelt field is an error, not a default."""

    # A run whose loss diverged is a result too: its record must survive the way to disk and back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Part(Frozen):
    """A recipe or a part of one: every number is finite."""

    model_config = ConfigDict(allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, content: Any) -> Any:
        """true is no 1, and nothing here counts beyond 64 bits."""
        for name, field in cls.model_fields.items() if isinstance(content, dict) else ():
            waiting = [content.get(name)]
            while waiting:
                value = waiting.pop()
                if isinstance(value, list | tuple):
                    waiting += value
                elif isinstance(value, bool) and "bool" not in str(field.annotation):
                    raise ValueError(f"{name}: {str(value).lower()} is no number or name")
                elif isinstance(value, int) and abs(value) >= 2**63:
                    raise ValueError(f"{name}: the number is too large")
        return content
