"""A link to the page of words says, when it is pointed at, what the word means there."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

PAGE = "words"
logger = logging.getLogger(__name__)


def explain_words(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give every link to a word its definition as title; a word without one is a warning."""
    if docname == PAGE or PAGE not in app.env.found_docs:
        return
    uri = app.builder.get_relative_uri(docname, PAGE)
    links = [
        link
        for link in doctree.findall(nodes.reference)
        if link.get("refuri", "").partition("#")[0] == uri and "#" in link.get("refuri", "")
    ]
    found = definitions(app.env.get_doctree(PAGE)) if links else {}
    for link in links:
        word = link["refuri"].partition("#")[2]
        if word in found:
            link["reftitle"] = found[word]
        else:
            logger.warning("%s defines no word %r", PAGE, word, location=link)


def definitions(words: nodes.document) -> dict[str, str]:
    """Return the first paragraph below each heading, by the heading's name in addresses."""
    found = {}
    for section in words.findall(nodes.section):
        first = next((part for part in section if isinstance(part, nodes.paragraph)), None)
        if first is not None:
            names = [*section["ids"], *filter(None, [section.get("slug")])]
            found |= dict.fromkeys(names, first.astext().replace("\n", " "))
    return found
