"""run.json as data: what a run says of itself. Every field is checked on the way in: types, ranges, names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from speedcore.recipe import Frozen, Recipe
from speedcore.store.fields import Amount, Count, Line, Name, Number, Seed, Share, Side, Some

SCHEMA_VERSION: Literal[1] = 1


class DataRecord(Frozen):
    """The data set of a run, without its images."""

    name: Line
    fingerprint: Line
    source: str
    official: bool
    note: str = ""
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    channels: Side
    height: Side
    width: Side
    train_images: Count
    validation_images: Count
    test_images: Some
    mean: tuple[Number, ...]
    std: tuple[Number, ...]


class ReplanRecord(Frozen):
    step: Count
    steps_before: Count
    steps_after: Count
    reason: str


class PeekRecord(Frozen):
    """A look at the test set in mid-training: after `step`, the share of its images classified correctly."""

    step: Count
    accuracy: Share


class Metrics(Frozen):
    """Shares of 1. `tta_accuracy` is None where the recipe has no test-time augmentation. A loss may be no number: such a run
    diverged, which is a result too."""

    test_accuracy: Share
    test_loss: float
    tta_accuracy: Share | None = None
    train_accuracy: Share
    train_loss: float
    validation_accuracy: Share | None = None


class RunRecord(Frozen):
    """run.json. weights_sha256: of weights.safetensors, byte for byte (`encoded`). sealed: whether a manifest belongs to it; of
    older runs it does not, and their weights_sha256 is of another kind."""

    schema_version: Literal[1] = SCHEMA_VERSION
    key: Name
    data: DataRecord
    arm: Name
    recipe: Recipe
    recipe_hash: str
    seed: Seed
    budget_seconds: Amount | None
    budget_policy: Name
    limit_seconds: Amount | None
    steps: Some
    planned_steps: Some
    steps_per_epoch: Some
    epochs: Amount
    final_lr: Number
    final_factor: Number
    replans: tuple[ReplanRecord, ...] = ()
    peeks: tuple[PeekRecord, ...] = ()
    parameters: dict[str, Count]
    ledger: dict[str, Amount]
    clocks: dict[str, Amount]
    metrics: Metrics
    peak_memory_bytes: Count
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    device: Name
    provenance: dict[str, JsonValue]
    sealed: bool = False

    @field_validator("provenance")
    @classmethod
    def _spelt_as_today(cls, provenance: dict[str, JsonValue]) -> dict[str, JsonValue]:
        backend = {name: value for name, value in provenance.items() if name == "convolutions"}
        return {**provenance, **Recipe.current(backend)}

    @property
    def accuracy(self) -> float:
        """The accuracy that the recipe is judged by, a share of 1: with TTA where it has one."""
        return self.plain_accuracy if self.metrics.tta_accuracy is None else self.metrics.tta_accuracy

    @property
    def plain_accuracy(self) -> float:
        """The accuracy on the test images as they are, a share of 1."""
        return self.metrics.test_accuracy

    @property
    def peeked(self) -> bool:
        """Whether the test set decided when training ended: then `accuracy` is no estimate for unseen images."""
        return self.recipe.peeks
