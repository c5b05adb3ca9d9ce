"""Figures as a part of the page: they take its ink and paper, and bring no file.

Matplotlib draws dark ink on white paper. In the page black becomes the text's color and white the
page's own, so that a figure is as dark as its page; colors that are too dark for that are lighter
there. Rasters keep theirs. A figure says how wide it must be for its smallest text to be read.
"""

from __future__ import annotations

import colorsys
import math
import re
import xml.etree.ElementTree as ET
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

INK, PAPER = "currentColor", "var(--pst-color-background)"
NIGHT = 0.056  # of the dark page: its luminance, 0.006, with the 0.05 of WCAG's contrast ratio
CONTRAST = 4.5
READABLE = 9  # px
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
POINT = 4 / 3  # px
OUTLINE = re.compile(r'<path (d="[^"]*" transform="scale\(0\.015625\)") id="([^"]*)"/>')
REFERENCE = re.compile(r'(<use\b[^>]*href="#)([^"]*)')
POINTS = re.compile(r'(?:<use [^>]*( style="[^"]*")/>)(?:<use [^>]*\1/>)+')


def draw_natively(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put every figure of matplotlib's into the page itself."""
    if app.builder.format != "html":
        return
    drawn, dim = [], set()
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix != ".svg" or not path.is_file():
            continue
        if "matplotlib.org" in (text := path.read_text("utf-8"))[:2000]:
            svg, colors = native(text, image.get("alt", ""), f"f{len(drawn)}-")
            drawn.append(nodes.raw("", f'<div class="an-figure">{svg}</div>', format="html"))
            image.replace_self(drawn[-1])
            dim |= colors
    if dim:
        night = "".join(f"{_variable(color)}:{_lit(color)};" for color in sorted(dim))
        style = f'<style>html[data-theme="dark"]{{{night}}}</style>'
        parent = drawn[0].parent
        parent.insert(parent.index(drawn[0]), nodes.raw("", style, format="html"))


def share_letters(body: str) -> str:
    """Outline each letter once for all figures of a page, and not once for each."""
    letters: dict[str, str] = {}
    names = {name: letters.setdefault(outline, name) for outline, name in OUTLINE.findall(body)}
    if not letters:
        return body
    body = OUTLINE.sub("", body).replace("<defs></defs>", "")
    body = REFERENCE.sub(lambda use: use[1] + names.get(use[2], use[2]), body)
    outlines = "".join(f'<path {outline} id="{name}"/>' for outline, name in letters.items())
    return f'<svg class="an-letters" aria-hidden="true"><defs>{outlines}</defs></svg>{body}'


def _together(points: re.Match[str]) -> str:
    """Give points that look alike one style."""
    return f"<g{points[1]}>{points[0].replace(points[1], '')}</g>"


def native(text: str, alt: str, prefix: str) -> tuple[str, set[str]]:
    """Return a drawing as markup for a page, and its colors that a dark page cannot show."""
    root = ET.fromstring(text)
    pairs = [(parent, child) for parent in root.iter() for child in parent]
    for parent, child in [pair for pair in pairs if _is_left_out(*pair)]:
        parent.remove(child)
    _shorten_names(root, prefix)
    grounds = [box for element in root.iter() if (box := _ground(element))]
    labels = {element for element in root.iter() if _lies_on(element, grounds)}
    dim: set[str] = set()
    for element in root.iter():
        if element in labels:
            element.set("style", element.get("style", "fill:#000"))
        else:
            _paint(element, dim, keep_fills=bool(labels))
        for name in ("d", "x", "y", "width", "height", "transform"):
            if name in element.attrib:
                element.set(name, _rounded(element.get(name, "")))
        if "d" in element.attrib:
            element.set("d", re.sub(r"\s*([A-Za-z])\s*", r"\1", element.get("d", "")))
    width, height = (float(size) for size in root.get("viewBox", "").split()[2:])
    shape = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "width": f"{POINT * width:.0f}",
        "height": f"{POINT * height:.0f}",
        "role": "img",
        "aria-label": alt,
        "style": f"--an-min:{_least_width(root, width):.0f}px",
    }
    inside = POINTS.sub(_together, "".join(map(_markup, root)))
    return f"<svg{_attributes(shape)}>{inside}</svg>", dim


def _is_left_out(parent: ET.Element, child: ET.Element) -> bool:
    """Return whether this is the white ground of a figure or its axes, or no part of a drawing."""
    return child.tag in (f"{SVG}style", f"{SVG}metadata") or (
        re.match("(figure|axes)_", parent.get("id", "")) is not None
        and child is parent[0]
        and child.get("id", "").startswith("patch_")
        and all("fill: #ffffff" in path.get("style", "") for path in child)
    )


def _shorten_names(root: ET.Element, prefix: str) -> None:
    """Name what is referred to, uniquely in a page; drop all other names."""
    text = ET.tostring(root, encoding="unicode")
    used = sorted(set(re.findall(r'(?:href="|url\()#([^")]+)', text)))
    names = {name: f"{prefix}{k:x}" for k, name in enumerate(used)}
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in names:
            element.set("id", names[name])
        if (target := element.attrib.pop(XLINK, "")).startswith("#"):
            element.set("href", f"#{names[target[1:]]}")
        elif target:
            element.set("href", target)
        if clip := element.get("clip-path"):
            element.set("clip-path", f"url(#{names[clip[5:-1]]})")


def _paint(element: ET.Element, dim: set[str], *, keep_fills: bool) -> None:
    """Replace the colors of an element by those of the page; white text lies on something."""
    is_text = _text_size(element) is not None
    declared = []
    for name, value in re.findall(r"([\w-]+): *([^;]+)", element.attrib.pop("style", "")):
        if value.startswith("#") and not (is_text and value == "#ffffff"):
            kept = keep_fills and name == "fill" and not is_text
            value = _ink(value, None if kept else dim)
        declared.append(f"{name}:{_rounded(value)}")
    if declared:
        element.set("style", ";".join(declared))


Box = tuple[float, float, float, float]


def _ground(element: ET.Element) -> Box | None:
    """Return where a raster or an opaque colored rectangle lies: left, right, top and bottom."""
    if element.tag == f"{SVG}image":
        x, y, width, height = (float(element.get(n, 0)) for n in ("x", "y", "width", "height"))
        top = -y if "scale(1 -1)" in element.get("transform", "") else y
        return x, x + width, top, top + height
    corners = re.fullmatch(r"M (\S+) (\S+) L (\S+) \2 L \3 (\S+) L \1 \4 z", _path(element))
    filled = re.search(r"fill: #(?!ffffff)", element.get("style", ""))
    if not (corners and filled) or "opacity" in element.get("style", ""):
        return None
    left, right, top, bottom = (float(corners[k]) for k in (1, 3, 2, 4))
    return min(left, right), max(left, right), min(top, bottom), max(top, bottom)


def _path(element: ET.Element) -> str:
    return " ".join(element.get("d", "").split())


def _lies_on(element: ET.Element, grounds: list[Box]) -> bool:
    """Return whether an element is text on a ground that keeps its color, as the text then does."""
    place = re.match(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    if not place or _text_size(element) is None:
        return False
    x, y = float(place[1]), float(place[2])
    return any(left < x < right and top < y < bottom for left, right, top, bottom in grounds)


def _ink(color: str, dim: set[str] | None) -> str:
    """Return what a color of matplotlib's is on a page: grays lie between its ink and paper.

    One that a dark page cannot show joins ``dim``, or stays as it is where that is None.
    """
    red, green, blue = _channels(color)
    if red == green == blue:
        share = round(100 * (1 - red))
        if share >= 80:
            return INK
        return f"color-mix(in srgb,{INK} {share}%,{PAPER})" if share else PAPER
    if dim is not None and _contrast(color) < CONTRAST:
        dim.add(color)
        return f"var({_variable(color)},{color})"
    return color


def _channels(color: str) -> list[float]:
    return [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]


def _variable(color: str) -> str:
    return f"--an-{color[1:]}"


def _contrast(color: str) -> float:
    """Return the contrast of a color with the dark page (WCAG 2)."""
    channels = _channels(color)
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return (luminance + 0.05) / NIGHT


def _lit(color: str) -> str:
    """Return the darkest color of the same hue that can be seen on a dark page."""
    hue, light, saturation = colorsys.rgb_to_hls(*_channels(color))
    while _contrast(color) < CONTRAST:
        light += 0.01
        channels = colorsys.hls_to_rgb(hue, light, saturation)
        color = "#" + "".join(f"{round(255 * c):02x}" for c in channels)
    return color


def _text_size(element: ET.Element) -> float | None:
    """Return the size of the text that an element is, in points: glyphs are drawn at 100."""
    scaled = re.search(r"scale\((0\.\d+) -\1\)", element.get("transform", ""))
    return 100 * float(scaled[1]) if scaled else None


def _least_width(root: ET.Element, width: float) -> float:
    """Return the width, in px, at which the smallest text can be read."""
    sizes = [
        size * float(smaller[1] if (smaller := _smaller(glyph)) else 1)
        for element in root.iter()
        if (size := _text_size(element))
        for glyph in element
    ]
    return math.ceil(width * READABLE / min(sizes)) + 1 if sizes else 0


def _smaller(glyph: ET.Element) -> re.Match[str] | None:
    """Return the scale of a glyph that is raised or lowered."""
    return re.search(r"scale\((0\.[1-9]\d*)\)", glyph.get("transform", ""))


def _rounded(text: str) -> str:
    """Return numbers to a hundredth of a point, but scales as they are."""
    if "scale(0.015625)" in text:
        return text
    return re.sub(r"(?<!scale\()\b\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", text)


def _attributes(values: dict[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items())


def _markup(element: ET.Element) -> str:
    inside = "".join(map(_markup, element))
    name = element.tag.removeprefix(SVG)
    if name == "g" and not element.attrib:
        return inside
    if name == "defs" and not inside:
        return ""
    tag = f"<{name}{_attributes(element.attrib)}"
    return f"{tag}>{inside}</{name}>" if inside else f"{tag}/>"
