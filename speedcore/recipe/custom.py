"""A user's own network, augmentation or technique in a recipe: an import path, arguments, and the source file's sha256.

`speedcore.plugins` finds the code; what is asked of it is in docs/extending.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from speedcore import plugins
from speedcore.errors import PluginError
from speedcore.recipe.part import RecipePart, said


class CustomConfig(RecipePart):
    """factory: "module:name", or the name of an entry point, which is replaced by what it stands for. arguments: by name, plain
    values. sha256: of the file that the code is in, filled in where it is not given; it is compared whenever the code is used.
    """

    group: ClassVar[str] = ""
    known: ClassVar[Mapping[str, str]] = {}

    factory: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]
    arguments: dict[str, JsonValue] = {}
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""

    @model_validator(mode="before")
    @classmethod
    def _identified(cls, content: Any) -> Any:
        """From a function or class, from a functools.partial of one, from a path, or from a table of fields."""
        if isinstance(content, cls):
            return content
        try:
            if not isinstance(content, Mapping):
                code, arguments = plugins.taken_apart(content)
                content = {"factory": code, "arguments": arguments}
            content = dict(content)
            if "factory" in content:
                content["factory"] = plugins.import_path(content["factory"], cls.group, cls.known)
                content["sha256"] = content.get("sha256") or plugins.sha256_of(content["factory"])
        except PluginError as error:
            raise ValueError(str(error)) from None
        return content

    @field_validator("arguments", mode="before")
    @classmethod
    def _plain(cls, arguments: Any) -> Any:
        """As a file gives them back: a tuple is a list."""
        try:
            return json.loads(json.dumps(arguments, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"they are not plain values (numbers, text, lists, tables): {error}") from None

    @property
    def name(self) -> str:
        """For people: what the code itself is called."""
        return self.factory.rpartition(":")[2].rpartition(".")[2]

    def in_words(self) -> str:
        arguments = ", ".join(f"{name} = {said(value)}" for name, value in self.arguments.items())
        return f"{self.factory}({arguments})" + (f" of a file with sha256 {self.sha256[:12]}" if self.sha256 else "")

    def load(self) -> Any:
        """The function or class. Raises PluginError where it is not there or not the one that was recorded."""
        return plugins.load(self.factory, self.sha256)

    def __hash__(self) -> int:
        return hash((type(self), self.model_dump_json()))


class CustomNetworkConfig(CustomConfig):
    """`factory(channels, (height, width), classes, **arguments)` returns an nn.Module (`speedcore.networks.custom`)."""

    group: ClassVar[str] = plugins.NETWORKS

    kind: Literal["custom"] = "custom"

    def narrowed(self, factor: float) -> Self:
        """Only itself: what its arguments mean is not known here. Raises PluginError for a factor other than 1."""
        if factor != 1:
            raise PluginError(f"network '{self.factory}' is not ours to be narrowed; write a scale with width=1.")
        return self


class CustomAugmentation(CustomConfig):
    """`factory(images, generator, **arguments)` returns changed images, uint8 (N, C, H, W) as they came
    (`speedcore.techniques.custom`)."""

    group: ClassVar[str] = plugins.AUGMENTATIONS


class CustomTechnique(CustomConfig):
    """`factory(state, train, **arguments)` returns a `speedcore.training.hooks.Technique`."""

    group: ClassVar[str] = plugins.TECHNIQUES
