"""Does the score move as the map says? Pixels are taken away or given back, and the network is asked again."""

from __future__ import annotations

import torch
from captum.metrics import infidelity as captum_infidelity
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from explain.attribution.geometry import Extent, size_of
from explain.metrics.basics import is_empty, rounded, upsampled
from explain.models import ExplainError, TargetScores, check_targets, precise, probabilities, undisturbed, usable

STEPS = 16    # of deletion and insertion
SAMPLES = 32  # squares of infidelity

Images = Float[Tensor, "n c height width"]
Targets = Int64[Tensor, " n"]
Maps = Float[Tensor, "n h w"]


def deletion(model: nn.Module, images: Images, targets: Targets, maps: Maps, extent: Extent | None = None,
             steps: int = STEPS, ground: float | Tensor = 0.0, batch_size: int = 250) -> Float64[Tensor, " n"]:
    """Area under the target's probability as pixels are replaced by `ground`, those with the most evidence first.

    Probability: softmax of the scores; of a model with one logit sigmoid for class 1, the rest for class 0.
    In `steps` equal steps, by the trapezoidal rule over the share of replaced pixels, 0..1. ground: 0 is the mean colour
    of normalised images; or a tensor that broadcasts to the images (blurred ones, say). Ties are replaced in one fixed
    random order, the same for all images and networks. NaN for empty maps.
    """
    return _area(model, images, targets, maps, extent, steps, ground, batch_size, inserted=False)


def insertion(model: nn.Module, images: Images, targets: Targets, maps: Maps, extent: Extent | None = None,
              steps: int = STEPS, ground: float | Tensor = 0.0, batch_size: int = 250) -> Float64[Tensor, " n"]:
    """Area under the target's probability as pixels come into `ground`, those with the most evidence first; as `deletion`."""
    return _area(model, images, targets, maps, extent, steps, ground, batch_size, inserted=True)


def infidelity(model: nn.Module, images: Images, targets: Targets, maps: Maps, extent: Extent | None = None,
               samples: int = SAMPLES, batch_size: int = 250, seed: int = 0) -> Float64[Tensor, " n"]:
    """Share of the score's changes that the map leaves unexplained, by captum.

    `samples` squares of a quarter of the image's side are set to 0, the mean colour. The map predicts that the score falls
    by its sum over the square, up to one factor an image, chosen best; the mean squared error is divided by the mean
    squared change. The squares are the same for all images and networks. NaN for empty maps, and where nothing changes.
    """
    size, channels = size_of(images), images.shape[1]
    squares = _squares(size, samples, seed)
    values = _aligned(images, maps, size, extent) / channels
    step, found = max(1, batch_size // (samples + 1)), []
    with undisturbed(model) as device:
        asked = TargetScores(model, summed=False)
        for rows in torch.arange(len(images)).split(step):
            some, classes = precise(usable(images[rows])).to(device), targets[rows].to(device)
            given = values[rows].to(some)[:, None].expand_as(some).contiguous()

            def perturbed(inputs: Tensor) -> tuple[Tensor, Tensor]:
                taken = squares.to(inputs)[:, None].repeat(len(inputs) // samples, channels, 1, 1)
                return taken, inputs * (1 - taken)

            error, change = (captum_infidelity(asked, perturbed, some, each, additional_forward_args=classes,
                                               n_perturb_samples=samples, normalize=normalised).cpu().double()
                             for each, normalised in ((given, True), (torch.zeros_like(given), False)))
            found.append((error / change).clamp(0, 1).masked_fill(change <= 0, torch.nan))
    return torch.cat(found).masked_fill(is_empty(maps), torch.nan)


def _area(model: nn.Module, images: Tensor, targets: Tensor, maps: Tensor, extent: Extent | None, steps: int,
          ground: float | Tensor, batch_size: int, inserted: bool) -> Float64[Tensor, " n"]:
    if steps < 1:
        raise ExplainError(f"steps must be at least 1, found {steps}.")
    size = size_of(images)
    place = _places(rounded(_aligned(images, maps, size, extent)))
    counts = [round(i * size[0] * size[1] / steps) for i in range(steps + 1)]
    blank = torch.as_tensor(ground, dtype=images.dtype).expand_as(images)
    parts = []
    with undisturbed(model) as device, torch.no_grad():
        for rows in torch.arange(len(images)).split(max(1, batch_size // (steps + 1))):
            first = torch.stack([place[rows] < count for count in counts], 1)[:, :, None]  # (n, steps + 1, 1, H, W)
            image, other = (usable(each[rows]).to(device)[:, None] for each in (images, blank))
            mixed = torch.where((first if inserted else ~first).to(device), image, other).flatten(0, 1)
            answered = probabilities(model, mixed).cpu().double().view(len(rows), steps + 1, -1)
            check_targets(targets[rows], answered.shape[2])
            parts.append(answered.gather(2, targets[rows].cpu()[:, None, None].expand(-1, steps + 1, 1))[..., 0])
    return torch.trapezoid(torch.cat(parts), dx=1 / steps, dim=1).masked_fill(is_empty(maps), torch.nan)


def _places(maps: Float64[Tensor, "n H W"]) -> Int64[Tensor, "n H W"]:
    """The place of each pixel in descending order of value; ties in one fixed random order."""
    flat = maps.flatten(1)
    lots = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0))
    order = lots[flat[:, lots].argsort(dim=1, descending=True, stable=True)]
    return torch.empty_like(order).scatter_(1, order, torch.arange(flat.shape[1]).expand_as(order)).view_as(maps)


def _squares(size: tuple[int, int], samples: int, seed: int) -> Float[Tensor, "samples H W"]:
    """1 on a square of a quarter of the image's side, somewhere, else 0."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.zeros(samples, *size)
    height, width = (max(1, side // 4) for side in size)
    tops = torch.randint(size[0] - height + 1, (samples,), generator=generator).tolist()
    lefts = torch.randint(size[1] - width + 1, (samples,), generator=generator).tolist()
    for square, top, left in zip(made, tops, lefts, strict=True):
        square[top:top + height, left:left + width] = 1
    return made


def _aligned(images: Tensor, maps: Tensor, size: tuple[int, int], extent: Extent | None) -> Float64[Tensor, "n H W"]:
    """Maps over the images' pixels, on the CPU; values that are not finite as none, for such maps are empty anyway."""
    if maps.ndim != 3 or len(maps) != len(images):
        raise ExplainError(f"maps must be (N, h, w), one for each of the {len(images)} images; found {tuple(maps.shape)}.")
    return upsampled(maps.cpu().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), size, extent)
