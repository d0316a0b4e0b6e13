"""Images: lazy, held to their task's caps, hostile bytes named, pixels right for every kind of file."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mrb._util.hashing import hash_bytes, hash_json
from mrb.data.images import fit_size
from mrb.data.items import DecodeCache, ImageCaps, ImageHandle, Item
from mrb.errors import DataError
from tests.builders.toy import encoded

RED, WHITE = (255, 0, 0), (255, 255, 255)


def handle(data: bytes, caps: ImageCaps | None = None, cache: DecodeCache | None = None) -> ImageHandle:
    return ImageHandle(lambda: data, where="table, 'id'", caps=caps, cache=cache)


def opened(data: bytes, caps: ImageCaps | None = None) -> Image.Image:
    return handle(data, caps).open()


def refused(data: bytes, caps: ImageCaps | None = None) -> str:
    with pytest.raises(DataError) as caught:
        opened(data, caps)
    message = str(caught.value)
    assert message.startswith("table, 'id': ") and "\n" not in message and len(message) < 400
    return message.removeprefix("table, 'id': ")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims these dimensions and holds no pixels to speak of."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def test_nothing_is_read_before_it_is_asked_for() -> None:
    reads: list[int] = []

    def read() -> bytes:
        reads.append(1)
        return encoded(Image.new("RGB", (3, 2), RED))

    image = ImageHandle(read, where="x")
    item = Item("text", image)
    assert reads == [] and item.text == "text"
    assert item.image is not None and item.image.size == (3, 2)
    assert len(reads) == 1
    assert item.image.size == (3, 2)
    assert len(reads) == 1


def test_hashes_are_of_the_content() -> None:
    data = encoded(Image.new("RGB", (3, 2), RED))
    assert handle(data).sha256 == hash_bytes(data)
    assert handle(data).encoded == data
    items = [Item("a", handle(data)), Item("a", handle(data)), Item("a"), Item("b", handle(data)), Item("", None)]
    hashes = [item.content_hash for item in items]
    assert hashes[0] == hashes[1] == hash_json(["a", hash_bytes(data)])
    assert len(set(hashes)) == 4


def test_a_downscale_is_content_because_it_decides_the_pixels() -> None:
    data = encoded(Image.new("RGB", (3, 2), RED))
    whole, small = handle(data), handle(data, ImageCaps(downscale_pixels=4))
    assert whole.sha256 == small.sha256 and whole.content_hash != small.content_hash
    assert Item("a", whole).content_hash != Item("a", small).content_hash


def test_an_item_holds_several_images_in_order() -> None:
    one, other = (handle(encoded(Image.new("RGB", (2, 2), colour))) for colour in ("red", "blue"))
    item = Item("pages", images=[one, other])
    assert item.images == (one, other) and Item("x", one).images == (one,) and Item("x").images == ()
    assert Item("x", one).image is one and Item("x", images=[one]) == Item("x", one) and Item(images=()).image is None
    assert item.content_hash == hash_json(["pages", [one.sha256, other.sha256]])
    assert item.content_hash != Item("pages", images=[other, one]).content_hash
    assert replace(item, text="words").images == (one, other)
    with pytest.raises(TypeError, match="image or images"):
        Item("x", one, images=[one])


def test_code_that_reads_one_image_of_several_is_stopped() -> None:
    image = handle(encoded(Image.new("RGB", (2, 2), RED)))
    with pytest.raises(DataError, match=r"table, 'id': the item has 2 images, and code that takes one image"):
        _ = Item("", images=[image, image]).image


# Kinds of files


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_allowed_format_is_told_by_its_bytes(kind: str) -> None:
    image = opened(encoded(Image.new("RGB", (5, 4), RED), kind))
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert np.abs(np.asarray(image, int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "PDF", "EPS", "JPEG2000"])
def test_other_formats_are_refused(kind: str) -> None:
    assert refused(encoded(Image.new("RGB", (16, 16), RED), kind)).startswith("not an image that MRB reads (PNG, JPEG,")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"<svg></svg>", b"RIFF\0\0\0\0WAVE", b"P6 1 1 255\n\0\0\0", b"\x1b[2J"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refused(data).startswith("not an image that MRB reads")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_lie_on_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 1), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    found = np.asarray(opened(encoded(image if mode == "RGBA" else image.convert(mode))))[0, :, 0]
    assert found[0] == 0 and found[2] == found[3] == 255
    if mode != "P":
        assert found[1] == 127


def test_a_colour_named_transparent_lies_on_white() -> None:
    gif = Image.new("P", (2, 1))
    gif.putpalette([0, 0, 0, 255, 0, 0])
    gif.putpixel((1, 0), 1)
    for data in (encoded(gif, "GIF", transparency=0), encoded(gif, "PNG", transparency=0)):
        assert np.asarray(opened(data))[0].tolist() == [[255, 255, 255], [255, 0, 0]]
    rgb = Image.new("RGB", (2, 1), RED)
    rgb.putpixel((0, 0), (1, 2, 3))
    assert opened(encoded(rgb, "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == WHITE


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = opened(data).getpixel((0, 0))  # type: ignore[misc]
        assert red > 240 and blue < 15, kind


def test_palette_grey_and_cmyk_become_rgb() -> None:
    assert opened(encoded(Image.new("RGB", (2, 2), RED).convert("P"))).getpixel((0, 0)) == RED
    assert opened(encoded(Image.new("L", (2, 2), 77))).getpixel((0, 0)) == (77, 77, 77)
    assert opened(encoded(Image.new("1", (2, 2), 1))).getpixel((0, 0)) == WHITE
    for kind in ("JPEG", "TIFF"):
        red, green, _ = opened(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)).getpixel((4, 4))  # type: ignore[misc]
        assert red > 240 and green < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_shades(kind: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    found = np.asarray(opened(encoded(Image.fromarray(values), kind)))[0, :, 0]
    assert np.abs(found.astype(int) - [0, 1, 1, 128, 255]).max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_an_unstated_range_are_refused(dtype: Any) -> None:
    assert "pixels of 32 bits" in refused(encoded(Image.fromarray(np.ones((2, 2), dtype)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("downscale", [None, 32 * 16 // 4])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(kind: str, downscale: int | None, orientation: int) -> None:
    from PIL import ImageOps

    picture = Image.new("RGB", (32, 16), WHITE)
    ImageDraw.Draw(picture).rectangle((0, 0, 15, 7), fill=RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, kind, exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    found = opened(data, ImageCaps(downscale_pixels=downscale))
    assert found.size == (wanted.size if downscale is None else (wanted.width // 2, wanted.height // 2))
    difference = np.abs(np.asarray(found.resize(wanted.size), int) - np.asarray(wanted.convert("RGB"), int))
    assert difference.mean() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_cannot_be_read_turns_nothing() -> None:
    data = encoded(Image.new("RGB", (4, 2), RED), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert opened(data).size == (4, 2)


# Caps


def test_caps_on_bytes_and_pixels_are_exact() -> None:
    data = encoded(Image.new("RGB", (10, 10), RED))
    opened(data, ImageCaps(max_bytes=len(data), max_pixels=100))
    assert refused(data, ImageCaps(max_bytes=len(data) - 1)) == (
        f"image of {len(data)} bytes, the task allows {len(data) - 1}"
    )
    assert refused(data, ImageCaps(max_pixels=99)) == "image of 10 x 10 pixels, over the task's 99"
    with pytest.raises(DataError, match="10 x 10 pixels, over"):
        _ = handle(data, ImageCaps(max_pixels=99)).size


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    assert refused(png_header(60_000, 60_000)) == "image of 60000 x 60000 pixels, over the task's 89478485"
    assert refused(png_header(9460, 9459)).startswith("image of 9460 x 9459 pixels, over")  # just over Pillow's limit
    assert "damaged image" in refused(png_header(9459, 9459))  # within the limit, but no pixels
    assert refused(png_header(2**31 - 1, 2**31 - 1)).startswith("image of 2147483647 x")


def test_a_task_may_allow_more_than_pillow_does_without_changing_pillow() -> None:
    before = Image.MAX_IMAGE_PIXELS
    caps = ImageCaps(max_pixels=51_200 * 10_752, downscale_pixels=1_000_000)
    assert handle(png_header(51_200, 10_752), caps).size == (51_200, 10_752)
    assert refused(png_header(51_200, 10_753), caps).startswith("image of 51200 x 10753 pixels, over the task's")
    # Pillow's own guard still stands for everyone else, in the same process.
    assert before == Image.MAX_IMAGE_PIXELS == 89_478_485
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(png_header(51_200, 10_752)))


def test_no_warning_filter_is_touched() -> None:
    before = list(warnings.filters)
    refused(png_header(9460, 9459))
    assert list(warnings.filters) == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_a_huge_jpeg_is_decoded_small(tmp_path: Path) -> None:
    picture = Image.new("L", (20_000, 9_000), 200)
    picture.paste(60, (10_000, 0, 20_000, 9_000))
    (tmp_path / "huge.jpg").write_bytes(encoded(picture, "JPEG"))
    script = """
import sys
from dataclasses import replace
from pathlib import Path
from mrb.data.items import ImageCaps, ImageHandle
data = Path(sys.argv[1]).read_bytes()
caps = ImageCaps(max_pixels=200_000_000, downscale_pixels=1_000_000)
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
image = ImageHandle(lambda: data, where="x", caps=caps).open()
print(image.size, image.getpixel((100, 100))[0], image.getpixel((1400, 100))[0])
print((peak() - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "huge.jpg")], capture_output=True, text=True, check=True
    )
    shown, megabytes = done.stdout.splitlines()
    assert shown == "(1490, 670) 200 60"
    assert int(megabytes) < 100  # whole, its RGB pixels alone take 687


@given(
    st.integers(1, 60_000),
    st.integers(1, 60_000),
    st.integers(1, 10_000_000),
)
def test_downscaling_keeps_the_budget_and_the_shape(width: int, height: int, pixels: int) -> None:
    new_width, new_height = fit_size((width, height), pixels)
    assert 1 <= new_width <= width and 1 <= new_height <= height
    assert new_width * new_height <= max(pixels, 1)
    if width * height <= pixels:
        assert (new_width, new_height) == (width, height)
    elif min(new_width, new_height) >= 50:
        assert abs(new_width / new_height - width / height) / (width / height) < 0.05


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_downscaled_pixels_are_within_the_declared_budget(kind: str) -> None:
    picture = Image.new("RGB", (400, 300), WHITE)
    ImageDraw.Draw(picture).rectangle((0, 0, 199, 299), fill=RED)
    found = opened(encoded(picture, kind), ImageCaps(downscale_pixels=3000))
    assert found.size == (63, 47)
    left, right = np.asarray(found, int)[20, 10], np.asarray(found, int)[20, 50]
    assert np.abs(left - RED).max() < 8 and np.abs(right - WHITE).max() < 8
    assert opened(encoded(picture, kind), ImageCaps(downscale_pixels=120_000)).size == (400, 300)


# Damage


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_image_is_refused_wherever_it_is_cut(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    whole = np.asarray(opened(data))
    for end in range(0, len(data), max(1, len(data) // 60)):
        try:
            found = opened(data[:end])
        except DataError as error:
            assert str(error).startswith("table, 'id': ")
        else:
            # Only what follows the pixels (an end mark) may be missing.
            assert end > len(data) * 0.9 and np.array_equal(np.asarray(found), whole), (end, len(data))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.integers(0, 2**32))
def test_damaged_bytes_give_an_image_or_a_named_error(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((20, 20)).convert("RGB").save(buffer, kind)
    data = bytearray(buffer.getvalue())
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    caps = ImageCaps(max_pixels=1_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert handle(bytes(data), caps).open().mode == "RGB"
        except DataError as error:
            assert str(error).startswith("table, 'id': ") and "\n" not in str(error)


# The cache
