"""Images as PNG files at their own size: one byte in, the same byte out."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8


def png(image: UInt8[np.ndarray, "c h w"], colours: int | None = None) -> bytes:
    """PNG of one uint8 image of one or three channels (of any other number, the first).

    colours: reduce three channels to a palette of so many.
    """
    from PIL import Image

    array = np.asarray(image)
    array = array if len(array) in (1, 3) else array[:1]
    picture = Image.fromarray(array[0]) if len(array) == 1 else Image.fromarray(np.ascontiguousarray(array.transpose(1,
                                                                                                                     2,
                                                                                                                     0)))
    if colours and picture.mode == "RGB":
        picture = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
