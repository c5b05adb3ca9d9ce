"""Pictures in a page: small, with a caption each, as many in a row as there is room for."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from torch import Tensor
from torch.nn.functional import avg_pool2d


def jpeg(image: Tensor, *, shrink: int = 2, quality: int = 50) -> str:
    """Return a picture, ``(3, height, width)`` from 0 to 1, as an address that holds it.

    Parameters
    ----------
    image
        What is outside of 0 to 1 is cut off.
    shrink
        So many pixels along a side become one.
    quality
        Of the JPEG file, 1 to 95.
    """
    from PIL import Image

    small = avg_pool2d(image.detach().clamp(0, 1).float(), shrink)
    pixels = (255 * small).round().byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class Gallery:
    """Pictures, ``(3, height, width)`` each, by their captions; each at least so wide, in px."""

    pictures: Mapping[str, Tensor]
    width: int = 145
    shrink: int = 3

    def _repr_html_(self) -> str:
        columns = f"repeat(auto-fill,minmax({self.width}px,1fr))"
        figures = "".join(
            f'<figure style="margin:0"><img alt="" src="{jpeg(image, shrink=self.shrink)}"'
            ' style="width:100%;padding:0"><figcaption style="font-size:0.85em;line-height:1.2;'
            f'color:inherit">{escape(caption)}</figcaption></figure>'
            for caption, image in self.pictures.items()
        )
        style = f"display:grid;gap:8px;grid-template-columns:{columns}"
        return f'<div class="an-gallery" style="{style}">{figures}</div>'
