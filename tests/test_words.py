"""Definitions come from the page of words."""

import words
from docutils import nodes


def page(*sections):
    document = nodes.document(None, None)
    for name, *parts in sections:
        title = nodes.title("", name)
        document += nodes.section("", title, *parts, ids=[name], slug=f"{name}-1")
    return document


def test_a_word_means_the_first_paragraph_below_it():
    paragraphs = [nodes.paragraph("", text) for text in ("How far\napart.", "More.")]
    found = words.definitions(page(("effect", *paragraphs)))
    assert found["effect"] == found["effect-1"] == "How far apart."


def test_a_word_without_a_sentence_has_no_definition():
    assert "arm" not in words.definitions(page(("arm", nodes.bullet_list())))
