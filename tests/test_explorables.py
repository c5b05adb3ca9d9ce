"""Charts with sliders: what a reader's page gets is the chart and its words, whatever they hold."""

import json
import re
from html.parser import HTMLParser

import actnorm_book
import altair as alt
import pytest

from actnorm import explorables

NASTY = "<!-- <script> </script> ]]> --> & \u2028 &lt; \"'"


def shown(title="law", words='A "line" & more'):
    chart = alt.Chart(alt.Data(values=[{"x": 1, "word": title}])).mark_line()
    control = explorables.slider("c", "offset", -1, 1, start=0, step=0.5)
    panel = chart.encode(x="x:Q", tooltip="word:N").properties(title=title)
    return explorables.explorable([panel], [control], words)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.lasttag == "script" and data.strip():
            self.scripts.append(data)

    def spec(self):
        (script,) = self.scripts
        return json.loads(re.search(r"const spec = (.*);\n", script)[1])


def test_explorable_is_one_spec_with_its_words():
    bundle = shown()._repr_mimebundle_()
    assert bundle["text/plain"] == 'A "line" & more'
    page = Elements(bundle["text/html"])
    assert page.found[0][1]["aria-label"] == 'A "line" & more'
    assert page.spec() == shown().spec
    assert shown().spec["params"][0]["value"] == 0
    assert shown().spec["description"] == 'A "line" & more'  # which Vega gives to the drawn chart
    assert bundle == shown()._repr_mimebundle_()


def test_nothing_in_a_chart_ends_its_script():
    page = shown(NASTY, NASTY)._repr_mimebundle_()["text/html"]
    elements = Elements(f"{page}<p>after</p>")
    assert [tag for tag, _ in elements.found] == ["div", "script", "p"]
    assert elements.found[0][1]["aria-label"] == NASTY
    assert elements.spec() == shown(NASTY, NASTY).spec
    assert not re.search("<!--|<script|</script|]]>", elements.scripts[0])


def test_a_chart_may_be_shown_again_on_its_page():
    page = shown()._repr_mimebundle_()["text/html"]
    ids = [attributes["id"] for _, attributes in Elements(page * 2).found if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_a_picture_stands_in_for_every_chart_of_a_page():
    page = shown(NASTY)._repr_mimebundle_()["text/html"]
    context = {"script_files": [], "body": f"<h1>Two</h1>{page}<p>between</p>{page}"}
    actnorm_book.page_context(None, "page", "page.html", context, None)
    tags = [tag for tag, _ in Elements(context["body"]).found]
    assert tags.count("svg") == 2
    still = r"<svg.*?</svg>|<form.*?</form>| style=\"--an-min:\d+px\""
    assert re.sub(still, "", context["body"], flags=re.DOTALL).count(page) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: explorables.slider("c", "c", 0, 1, start=2, step=0.1), "start must lie in"),
        (lambda: explorables.slider("c", "c", 0, 1, start=0, step=0), "step be positive"),
        (lambda: explorables.explorable([], [], ""), "description must say"),
    ],
)
def test_bad_explorables_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
