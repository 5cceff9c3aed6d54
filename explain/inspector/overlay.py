"""Maps laid over images: the positive part, upsampled to the pixels, in colour on one scale for all.

Scaling every map to its own maximum would make noise look like evidence and hide every difference between two
networks. Here one scale serves all images and both arms, and a map without a positive value leaves its image grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8

from explain.attribution.geometry import Extent, upsample
from explain.metrics.basics import positive

COLOURS = "plasma"  # perceptually uniform: equal steps of the value are equal steps to the eye, in grey print too
PERCENTILE = 95.0
STRENGTH = 0.9
GROUND = (0.12, 0.8)  # greys of black and white: colour must show on both


@dataclass(frozen=True)
class Scale:
    """What the colours mean: 0 at the dark end, `limit` and all above it at the bright one.

    label: the quantity and how the limit was set, for a legend.
    """

    limit: float
    label: str

    @classmethod
    def of(cls, maps: Sequence[Float[np.ndarray, "n h w"]], method: str = "Grad-CAM") -> Scale:
        """One scale for all these maps: it ends at the 95th percentile of their positive values. method: for the label.

        Not at the maximum: one extreme cell would leave all else dark. 1 if there is no positive value at all.
        """
        values = np.concatenate([np.ravel(m) for m in maps])
        above = values[np.isfinite(values) & (values > 0)]
        limit = float(np.percentile(above, PERCENTILE)) if len(above) else 1.0
        return cls(limit, f"evidence for the class (positive {method}); one scale for all maps, full at the "
                          f"{PERCENTILE:g}th percentile of their positive values")

    def colours(self, values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n 3"]:
        """RGB in 0..1."""
        return matplotlib.colormaps[COLOURS](np.clip(values / self.limit, 0, 1))[..., :3]

    def bar(self, width: int = 256) -> UInt8[np.ndarray, "1 width 3"]:
        """The scale as a strip of pixels, from 0 to the limit."""
        return np.rint(255 * self.colours(np.linspace(0, self.limit, width))).astype(np.uint8)[None]


def heat(maps: Float[np.ndarray, "n h w"], size: tuple[int, int], extent: Extent | None = None) -> Float[np.ndarray, "n H W"]:
    """The positive part of signed maps, upsampled to images of `size`. A map with a value that is not finite has none."""
    return upsample(positive(torch.from_numpy(maps)), size, extent).float().numpy()


def overlay(images: UInt8[np.ndarray, "n c H W"], maps: Float[np.ndarray, "n h w"], scale: Scale,
            extent: Extent | None = None, strength: float = STRENGTH) -> UInt8[np.ndarray, "n H W 3"]:
    """The images in grey, with colour where the maps are positive: the more evidence, the less image shows through.

    Images are shown by their brightness alone, and flatter than they are, so that every colour seen is the map's and
    shows on black and white alike. strength: opacity at the scale's limit, 0..1.
    """
    return blended(images, heat(maps, images.shape[2:], extent), scale, strength)


def blended(images: UInt8[np.ndarray, "n c H W"], values: Float[np.ndarray, "n H W"], scale: Scale,
            strength: float = STRENGTH) -> UInt8[np.ndarray, "n H W 3"]:
    """`overlay`, of what has been upsampled to the pixels already. `templates/paint.js` does the same in a page."""
    black, white = GROUND
    grey = black + (white - black) * brightness(images)[..., None]
    opacity = strength * np.sqrt(np.clip(values / scale.limit, 0, 1))[..., None]
    blended = grey * (1 - opacity) + scale.colours(values) * opacity
    return np.rint(255 * blended).astype(np.uint8)


def brightness(images: UInt8[np.ndarray, "n c H W"]) -> Float[np.ndarray, "n H W"]:
    """Luma (Rec. 601) of grey or RGB images, 0..1."""
    x = images.astype(np.float32) / 255
    return x[:, 0] if x.shape[1] != 3 else np.tensordot(x, np.array([0.299, 0.587, 0.114], np.float32), axes=(1, 0))


def pixels(images: UInt8[np.ndarray, "n c H W"]) -> UInt8[np.ndarray, "n H W 3"]:
    """The images themselves as RGB; of neither one nor three channels, the first."""
    shown = images if images.shape[1] == 3 else images[:, :1].repeat(3, axis=1)
    return np.ascontiguousarray(shown.transpose(0, 2, 3, 1))
