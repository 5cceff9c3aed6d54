"""One image file to pixels: the formats that are read, upright, on white, 8 bits a channel, within the limits."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from speedcore import limits
from speedcore.limits import size_of

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")

_GREY = {"1", "L", "LA", "La"}
_COLOUR = {"RGB", "RGBA", "RGBa", "P", "PA", "CMYK", "YCbCr"}
# Where Pillow keeps what says which way is up.
_ORIENTED = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}


class NoPicture(ValueError):
    """The file holds no image that is read; the message is the reason."""


@dataclass(frozen=True)
class Picture:
    """pixels: (height, width) grey or (height, width, 3) colour; None where the image is not of the size that was asked for.

    turned: it says which way is up, and was stored another way. clear: it had transparent pixels, and lies on white now.
    moving: it is the first of several frames.
    """

    size: tuple[int, int]
    pixels: UInt8[np.ndarray, "h w *c"] | None
    turned: bool = False
    clear: bool = False
    moving: bool = False


def decode(content: bytes, size: tuple[int, int] | None = None) -> Picture:
    """The image in the bytes of a file. Raises NoPicture with the reason.

    size: (height, width) that it must have to be decoded at all; any, where None.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > limits.PIXELS:
                raise NoPicture(f"{width}×{height} pixels, more than the {limits.PIXELS:,} that are read")
            if image.mode not in _GREY | _COLOUR:
                raise NoPicture(f"pixels of mode {image.mode}; 8 bits a channel are needed")
            # One of another size will be refused, so it is not worth decoding; turning may swap its sides.
            if size not in (None, (height, width), (width, height)):
                return Picture((height, width), None)
            moving = getattr(image, "is_animated", False)
            before = _orientation(image)
            image.load()  # which turns TIFF by itself
            after = _orientation(image)
            flat, clear = _on_white(image if after == 1 else ImageOps.exif_transpose(image))
            grey = flat.mode in _GREY
            pixels = np.asarray(flat if flat.mode in ("L", "RGB") else flat.convert("L" if grey else "RGB"))
            return Picture(pixels.shape[:2], pixels, (before, after) != (1, 1), clear, moving)
    except NoPicture:
        raise
    except UnidentifiedImageError:
        raise NoPicture(f"not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None
    except Exception as error:  # A damaged image raises nearly anything, Pillow's own errors among it.
        raise NoPicture(str(error) or type(error).__name__) from error


def too_large(size: int) -> str:
    """Why a file of `size` bytes is not read; empty if it is."""
    return f"{size_of(size)}, more than the {size_of(limits.IMAGE_BYTES)} that are read" if size > limits.IMAGE_BYTES else ""


def _orientation(image: Image.Image) -> int:
    """EXIF's number for which way is up, 1 to 8; 1 is as it is stored."""
    if not _ORIENTED & image.info.keys() and image.format != "TIFF":
        return 1  # asking costs time
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # EXIF that cannot be read says nothing
        return 1
    return found if found in range(2, 9) else 1


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """(without its alpha channel, was anything transparent?). Colours under transparency are nothing that anyone sees."""
    if not image.has_transparency_data:
        return image, False
    grey = image.mode in _GREY
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    opaque = layered.convert("RGB")
    if grey:
        opaque = opaque.getchannel(0)
    if alpha.getextrema()[0] == 255:
        return opaque, False
    white = Image.new(opaque.mode, opaque.size, 255 if grey else (255, 255, 255))
    white.paste(opaque, mask=alpha)
    return white, True
