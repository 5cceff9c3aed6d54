"""Images as PNG files at their own size: one byte in, the same byte out."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8


def png(image: UInt8[np.ndarray, "c h w"]) -> bytes:
    """PNG of one uint8 image of one or three channels."""
    from PIL import Image

    array = np.asarray(image)
    picture = Image.fromarray(array[0]) if len(array) == 1 else Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
