"""What a page need not load."""

from types import SimpleNamespace

import lean
import pytest

FILES = [
    "mathjax/startup.js",
    "book.css",
    "design-tabs.js",
    "sphinx-thebe.js",
    "sphinx-design.css",
]


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("<p>words</p>", set()),
        ('<span class="math notranslate">x</span>', {"mathjax/startup.js"}),
        (r'<div class="an-card">\(x\)</div>', {"mathjax/startup.js"}),
        ('<div class="sd-tab-set"></div>', {"design-tabs.js", "sphinx-design.css"}),
    ],
)
def test_a_page_loads_what_its_body_uses(body, kept):
    files = [SimpleNamespace(filename=name, attributes={}) for name in FILES]
    settings = SimpleNamespace(filename=None, attributes={"body": "window.MathJax = {}"})
    context = {"body": body, "script_files": [*files, settings], "css_files": files}
    lean.drop_libraries(context)
    assert {file.filename for file in context["css_files"]} == {"book.css", *kept}
    assert (settings in context["script_files"]) == ("mathjax/startup.js" in kept)


def test_code_is_marked_only_where_it_has_a_color():
    code = '<span class="n">x</span><span class="w"> </span><span class="o">=</span>'
    assert lean.plain_code(code) == 'x <span class="o">=</span>'
