"""What a page need not bring: icons that it does not show, libraries and marks without a use.

The theme loads all icons of Font Awesome twice, as a script of 1.5 MB and as three fonts. What the
pages show is some twenty of them, which the site serves as one small font. MathJax comes in parts,
without its menu.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.config import Config

VENDOR = "_static/vendor/fontawesome"
FONT_AWESOME = re.compile(r"<(link|script)\b[^>]*/fontawesome/[^>]*>(</script>)?\n?")
MATHJAX = ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]
MATHEMATICS = re.compile(r'class="[^"]*\bmath\b|\\\(|\\\[')
# What stands in a page's head, and what its body then has.
LIBRARIES = {
    "thebe": re.compile("(?!)"),  # its scripts come from elsewhere
    "sphinx-design": re.compile(r'class="sd-'),
    "design-tabs": re.compile(r'class="sd-'),
    "mathjax": MATHEMATICS,
    "MathJax": MATHEMATICS,
}
PLAIN = re.compile(r'<span class="[npw]">([^<]*)</span>')
ICONS = """\
/* Icons of Font Awesome Free (https://fontawesome.com, CC BY 4.0; font: SIL OFL 1.1). */
@font-face { font-family: "Font Awesome 6 Free"; font-weight: 900; font-display: block;
  src: url("icons.woff") format("woff"); }
@font-face { font-family: "Font Awesome 5 Free"; font-weight: 900; font-display: block;
  src: url("icons.woff") format("woff"); }
.fa, .fas, .far, .fab, .fa-solid, .fa-regular, .fa-brands { font-family: "Font Awesome 6 Free";
  font-weight: 900; font-style: normal; font-variant: normal; line-height: 1;
  display: inline-block; text-rendering: auto; -webkit-font-smoothing: antialiased; }
.fa-lg { font-size: 1.25em; line-height: 0.05em; vertical-align: -0.075em; }
"""


def mathjax_in_parts(app: Sphinx, config: Config) -> None:
    """Load MathJax's parts one by one, in the place of a bundle of everything."""
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = {"loader": {"load": MATHJAX}, **(config.mathjax3_config or {})}


def drop_libraries(context: dict[str, Any]) -> None:
    """Leave scripts and style sheets out of a page whose body has no use for them."""
    body = context.get("body", "")
    for name in ("script_files", "css_files"):
        context[name] = [each for each in context.get(name, ()) if _is_used(each, body)]


def _is_used(file: Any, body: str) -> bool:
    name = f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', {}).get('body', '')}"
    return all(use.search(body) for library, use in LIBRARIES.items() if library in name)


def plain_code(body: str) -> str:
    """Let names, punctuation and space, which are in the color of all code, stand without marks."""
    return PLAIN.sub(r"\1", body)


def draw_icons(app: Sphinx, error: Exception | None) -> None:
    """Serve the icons that the site shows, and nothing else of Font Awesome."""
    out = Path(app.outdir)
    (sheet,) = out.glob(f"{VENDOR}/*/css/all.min.css") if not error else (None,)
    if not sheet:
        return
    pages = {path: path.read_text(encoding="utf-8") for path in out.rglob("*.html")}
    scripts = [path.read_text("utf-8") for path in (out / "_static" / "scripts").glob("*.js")]
    shown = set(re.findall(r"\bfa-([a-z0-9-]+)", " ".join([*pages.values(), *scripts])))
    rules = {}
    for names, code in re.findall(r'([^{}]*):before\{content:"\\([0-9a-f]+)"\}', sheet.read_text()):
        for name in set(re.findall(r"\.fa-([a-z0-9-]+)", names)) & shown:
            rules[name] = code
    styles = [path.read_text("utf-8") for path in (out / "_static").rglob("styles/*.css")]
    drawn = {*rules.values(), *re.findall(r'"\\(f[0-9a-f]{3})"', " ".join(styles))}
    font = next(sheet.parent.parent.glob("webfonts/fa-solid-900.ttf"))
    _write_font(font, drawn, out / "_static" / "icons.woff")
    lines = (f'.fa-{name}::before {{ content: "\\{code}"; }}' for name, code in rules.items())
    (out / "_static" / "icons.css").write_text(ICONS + "\n".join(lines) + "\n", encoding="utf-8")
    for path, text in pages.items():
        root = "../" * (len(path.relative_to(out).parts) - 1)
        link = f'<link href="{root}_static/icons.css" rel="stylesheet" />\n'
        lean = FONT_AWESOME.sub("", FONT_AWESOME.sub(link, text, count=1))
        path.write_text(lean, encoding="utf-8")
    shutil.rmtree(out / VENDOR)


def _write_font(source: Path, codes: set[str], target: Path) -> None:
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    font = TTFont(source)
    chosen = subset.Subsetter(subset.Options(notdef_outline=True, name_IDs=["*"]))
    chosen.populate(unicodes=[int(code, 16) for code in codes])
    chosen.subset(font)
    font.flavor = "woff"
    font.save(target)
