"""Pictures in a page."""

import base64
import io

import pytest
import torch
from PIL import Image

from actnorm import pictures


def test_a_picture_comes_out_as_it_went_in():
    image = torch.zeros(3, 16, 32)
    image[0, :, 16:] = 2.0  # cut off at 1
    file = io.BytesIO(base64.b64decode(pictures.jpeg(image, quality=95).partition(",")[2]))
    with Image.open(file) as found:
        assert found.size == (16, 8)
        assert found.getpixel((1, 4)) == pytest.approx((0, 0, 0), abs=12)
        assert found.getpixel((14, 4)) == pytest.approx((255, 0, 0), abs=12)


def test_a_caption_is_text():
    shown = pictures.Gallery({"a < b": torch.zeros(3, 6, 6)})._repr_html_()
    assert "a &lt; b" in shown
    assert shown.count("<img") == 1
