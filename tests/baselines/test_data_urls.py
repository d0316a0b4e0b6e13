"""What a service is sent of an image shows the pixels that every adapter sees."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mrb.baselines._util.data_urls import encode_data_url
from mrb.data.images import ImageCaps
from mrb.data.items import ImageHandle
from tests.builders.services import picture


def decoded(url: str) -> tuple[str, bytes]:
    head, _, data = url.partition(";base64,")
    return head.removeprefix("data:"), base64.b64decode(data, validate=True)


def exif_turned() -> ImageHandle:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (8, 4), "white")
    image.paste("red", (0, 0, 2, 4))
    return picture(image, "JPEG", quality=95, exif=exif)


def noise(mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(1)
    shape = (12, 16) if mode == "L" else (12, 16, len(mode))
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode)


@pytest.mark.parametrize(
    ("handle", "kind", "as_it_is"),
    [
        (picture(noise()), "image/png", True),
        (picture(noise(), "JPEG", quality=80), "image/jpeg", True),
        (picture(noise("L")), "image/png", True),
        (picture(noise(), "WEBP", lossless=True), "image/webp", True),
        (picture(noise("RGBA")), "image/png", False),
        (exif_turned(), "image/png", False),
        (picture(noise(), "BMP"), "image/png", False),
        (picture(noise(), "TIFF"), "image/png", False),
        (picture(noise().quantize(8), "GIF"), "image/png", False),
        (picture(noise("CMYK"), "JPEG"), "image/png", False),
        (picture(noise(), caps=ImageCaps(downscale_pixels=60)), "image/png", False),
    ],
    ids=["png", "jpeg", "grey", "webp", "alpha", "exif", "bmp", "tiff", "gif", "cmyk", "downscaled"],
)
def test_what_is_sent_shows_the_pixels_that_every_adapter_sees(handle: ImageHandle, kind: str, as_it_is: bool) -> None:
    sent_kind, data = decoded(encode_data_url(handle))
    assert sent_kind == kind
    assert (data == handle.encoded) == as_it_is
    plain = Image.open(io.BytesIO(data)).convert("RGB")  # as a server that knows of no EXIF and no ground colour
    assert np.array_equal(np.asarray(plain), np.asarray(handle.open()))
