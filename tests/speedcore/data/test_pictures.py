"""Image files: the formats, upright, on white, and what is refused before it is decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from speedcore import limits
from speedcore.data import load
from speedcore.data.formats import pictures
from speedcore.data.formats.pictures import NoPicture, decode
from speedcore.errors import DataError
from tests.speedcore.data.making import image, write


def saved(picture: Image.Image, kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **how)
    return stream.getvalue()


def gradient(mode: str = "RGB") -> Image.Image:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(("kind", "how"), [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {}), ("PPM", {}),
                                           ("TIFF", {"compression": "tiff_lzw"})])
def test_formats_without_loss(kind: str, how: dict) -> None:
    assert np.array_equal(decode(saved(gradient(), kind, **how)).pixels, np.asarray(gradient()))


def test_every_suffix_is_read(tmp_path: Path) -> None:
    kinds = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "jfif": "JPEG", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF",
             "TIFF": "TIFF", "gif": "GIF"}
    files = {f"{label}/{i}.{suffix}": saved(Image.new("RGB", (8, 6), (value,) * 3), kind)
             for label, value in (("dark", 0), ("light", 255)) for i, (suffix, kind) in enumerate(kinds.items())}
    dataset = load(f"folder:{write(tmp_path / 'all', files)}")
    assert len(dataset.train) + len(dataset.test) == len(files)
    assert (dataset.train.images.float().mean((1, 2, 3)) - 255 * dataset.train.labels).abs().max() <= 2
    assert "18 files found: 18 used, 0 left out, 0 ignored" in dataset.provenance.note


def test_first_frame_of_several() -> None:
    frames = [Image.new("L", (8, 6), value) for value in (10, 200, 90)]
    for kind in ("GIF", "TIFF"):
        found = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert found.moving and set(np.unique(found.pixels)) == {10}
    assert not decode(image(3)).moving


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_upright_as_exif_says(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(gradient(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    found = decode(content)
    with Image.open(io.BytesIO(content)) as stored:
        assert np.array_equal(found.pixels, np.asarray(ImageOps.exif_transpose(stored)))
    turned = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1)}[orientation]
    assert np.array_equal(found.pixels[0, 0], np.asarray(gradient())[turned])  # the corner that is top left
    assert found.turned == (orientation != 1) and found.size == ((6, 8) if orientation < 5 else (8, 6))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_cannot_be_read_says_nothing() -> None:
    content = saved(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert decode(content).pixels.shape == (6, 8, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L"])
def test_colours_under_transparency_are_not_seen(mode: str) -> None:
    """Two images that look the same are the same, whatever lies under their transparent half."""
    found = []
    for under in (0, 77):
        pixels = np.full((6, 8, 4), 200, np.uint8)
        pixels[:, :4, :3], pixels[..., 3] = under, 255
        pixels[:, :4, 3] = 0
        picture, how = Image.fromarray(pixels), {}
        if mode in ("RGB", "L"):
            picture = Image.fromarray(pixels[..., :3]).convert(mode)
            how = {"transparency": (under,) * 3 if mode == "RGB" else under}
        elif mode in ("P", "PA"):
            indices = np.where(pixels[..., 3] == 0, 1, 0).astype(np.uint8)
            picture = Image.fromarray(indices).convert("P")
            picture.putpalette([200, 200, 200, under, under, under])
            how = {"transparency": 1}
        else:
            picture = picture.convert(mode)
        found.append(decode(saved(picture, "PNG", **how)))
    assert all(one.clear for one in found)
    assert np.array_equal(found[0].pixels, found[1].pixels)
    assert np.unique(found[0].pixels[:, :4]).tolist() == [255] and np.unique(found[0].pixels[:, 4:]).tolist() == [200]
    assert found[0].pixels.ndim == (2 if mode in ("LA", "L") else 3)


def test_half_transparent_is_half_white_and_opaque_is_itself() -> None:
    half = decode(saved(Image.new("RGBA", (8, 6), (100, 0, 50, 128)), "PNG"))
    assert np.abs(half.pixels[0, 0].astype(int) - [177, 127, 152]).max() <= 1  # 255 + (c − 255)·128/255
    opaque = decode(saved(Image.new("RGBA", (8, 6), (100, 0, 50, 255)), "PNG"))
    assert opaque.pixels[0, 0].tolist() == [100, 0, 50] and not opaque.clear


def test_notes_say_what_was_done_to_images(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    files = {f"{split}/{label}/{i}.png": image(9) for split in ("train", "test") for label in "ab" for i in range(2)}
    files["train/a/0.png"] = saved(Image.new("RGB", (8, 6)), "PNG", exif=exif)
    files["train/b/0.png"] = saved(Image.new("RGBA", (8, 6)), "PNG")
    files["test/b/0.gif"] = saved(Image.new("RGB", (8, 6)), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 6), "red")])
    note = load(f"folder:{write(tmp_path / 'pets', files)}").provenance.note
    for words in ("1 image turned upright as their EXIF says", "1 image with transparent pixels laid on white",
                  "1 image of which the first of several frames is taken"):
        assert words in note


# --- limits ----------------------------------------------------------------------------------------------------------

def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = image(3, (100, 50))
    monkeypatch.setattr(limits, "PIXELS", 5000)
    assert decode(content).size == (50, 100)
    monkeypatch.setattr(limits, "PIXELS", 4999)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(NoPicture, match="100×50 pixels, more than the 4,999"):
        decode(content)


def test_an_image_of_another_size_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = image(3, (100, 50))
    assert decode(content, (50, 100)).pixels is not None and decode(content, (100, 50)).pixels is not None  # it may be turned
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert decode(content, (50, 99)) == pictures.Picture((50, 100), None)


def test_all_bad_files_are_in_one_list(tmp_path: Path) -> None:
    files = {f"{label}/{i}.png": image(i) for label in "ab" for i in range(4)}
    files |= {"a/1.png": b"none", "a/3.png": image(3)[:50], "b/0.png": image(1, mode="I;16")}
    with pytest.raises(DataError, match="3 images do not decode") as caught:
        load(f"folder:{write(tmp_path / 'pets', files)}")
    lines = str(caught.value).splitlines()[1:]
    assert [line.split("'")[1] for line in lines] == ["a/1.png", "a/3.png", "b/0.png"]
    assert "not PNG, JPEG" in lines[0] and "8 bits a channel" in lines[2] and "0x" not in str(caught.value)


def test_images_that_would_fill_the_memory_are_refused_at_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "pets", {f"{label}/{i}.png": image(i, (64, 64)) for label in "ab" for i in range(4)})
    coming = 8 * 64 * 64 * 3
    monkeypatch.setattr(limits, "DECODED_BYTES", coming)
    assert len(load(f"folder:{path}", cache=tmp_path / "1").train) == 6
    monkeypatch.setattr(limits, "DECODED_BYTES", coming - 1)
    with pytest.raises(DataError, match="8 images of 64×64 pixels are 98.3 kB once decoded"):
        load(f"folder:{path}", cache=tmp_path / "2")
    monkeypatch.setattr(limits, "DECODED_BYTES", coming)
    monkeypatch.setattr(limits, "RATIO_FLOOR", 1000)
    monkeypatch.setattr(limits, "DECODED_RATIO", 10)
    with pytest.raises(DataError, match="10 times the files"):
        load(f"folder:{path}", cache=tmp_path / "3")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "pets", {f"{label}/{i}.png": image(i) for label in "ab" for i in range(4)})
    with (path / "a/9.png").open("wb") as file:
        file.truncate(50 << 30)  # 50 GiB that take no room on the disk
    monkeypatch.setattr(Path, "open", lambda self, *how: pytest.fail(f"{self} was opened"))
    with pytest.raises(DataError, match="'a/9.png' does not decode .53.7 GB, more than the 67.1 MB"):
        load(f"folder:{path}")
