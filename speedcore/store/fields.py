"""Kinds of fields in stored records: what a number or a name may be on the way in."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from speedcore.store import names

# What may become a folder's name, and one line of text.
Name = Annotated[str, AfterValidator(names.check)]
Line = Annotated[str, AfterValidator(names.check_text)]
# Whole numbers that a double holds exactly, from 0 and from 1 on; what an image or a channel count may be.
Count = Annotated[int, Field(ge=0, le=2**53)]
Some = Annotated[int, Field(ge=1, le=2**53)]
Side = Annotated[int, Field(ge=1, le=2**16)]
# What torch's generators take.
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
# A share of 1; seconds and other amounts; any finite number.
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
