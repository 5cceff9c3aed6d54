"""What a run leaves to be drawn: a row a step, and a row a validation point."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class History:
    """Columns of steps.csv and epochs.csv. Device scalars stay on the device until the end."""

    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: list[torch.Tensor] = field(default_factory=list)
    accuracy: list[torch.Tensor] = field(default_factory=list)
    validations: list[tuple[int, float, float, float]] = field(default_factory=list)

    def steps(self, steps_per_epoch: int) -> dict[str, list[float]]:
        loss, accuracy = (torch.stack(v).float().tolist() for v in (self.loss, self.accuracy))
        count = range(1, len(loss) + 1)
        return {"step": list(count), "epoch": [round(i / steps_per_epoch, 6) for i in count], "lr": self.lr,
                "loss": loss, "accuracy": accuracy, "seconds": self.seconds}

    def epochs(self, columns: dict[str, list[float]], steps_per_epoch: int) -> dict[str, list[float]]:
        """A row a validation point, with the mean training loss and accuracy since the one before."""
        names = ("step", "epoch", "progress", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        rows, before = [], 0
        for step, progress, accuracy, loss in self.validations:
            mean = [sum(columns[c][before:step]) / max(1, step - before) for c in ("loss", "accuracy")]
            rows.append((step, round(step / steps_per_epoch, 6), progress, *mean, loss, accuracy))
            before = step
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}
