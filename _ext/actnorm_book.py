"""Sphinx extension of the book: the ledger, the explorables, and nothing from elsewhere."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import charts
import lean
import pandas as pd
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from drawings import draw_natively, share_letters
from folds import exercises_ask, fold_together
from outcomes import Margins, Outcomes
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri
from words import explain_words

from actnorm import evidence
from actnorm.answers import Size
from actnorm.evidence import listing, marks

FOLDED = '<summary aria-label="Toggle hidden content">'  # hides what the summary itself says
FOLD_CONTROL = {
    "type": "javascript",
    "javascript": "actnormFold()",
    "icon": "fas fa-code",
    "text": "Show all code",
    "label": "fold-code",
}


class Ledger(Directive):
    """``{ledger}``: every claim with its verdict; ``:brief:`` for the same in miniature.

    ``:chapter: name`` keeps the claims that the chapter's pages judge.
    """

    option_spec = {"brief": directives.flag, "chapter": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        for pattern in ("records/**/*.json", "evidence/**/*.py", "evidence/**/*.toml"):
            for path in evidence.PACKAGE.glob(pattern):
                env.note_dependency(str(path))
        chapter = self.options.get("chapter", "")
        rows = [
            row
            for row in evidence.ledger()
            if any(part["page"].startswith(chapter) for part in row["parts"])
        ]
        here = env.app.builder.get_target_uri(env.docname)
        if "brief" in self.options:
            text = listing.ledger_strip(
                rows, relative_uri(here, env.app.builder.get_target_uri("ledger"))
            )
        else:
            pages = {part["page"] for row in rows for part in row["parts"]}
            href = {
                page: relative_uri(here, env.app.builder.get_target_uri(f"chapters/{page}"))
                for page in pages
                if f"chapters/{page}" in env.found_docs
            }
            text = listing.ledger_table(rows, href)
        return [nodes.raw("", text, format="html")]


def verdict_role(name: str, rawtext: str, text: str, lineno: int, inliner: Any, **_: Any) -> tuple:
    """``{verdict}`3174499` ``: a claim's verdict as a colored word, on a page with a ledger."""
    return [nodes.raw("", marks.badge(evidence.claim(text).verdict), format="html")], []


def effect_role(name: str, rawtext: str, text: str, lineno: int, inliner: Any, **_: Any) -> tuple:
    """``{effect}`3174499 slower` ``: a part's recorded effect with its interval.

    ``{effect}`3138623 better_fusion points` `` tells a share in hundredths; see `answers.Size`.
    """
    problem_id, part, *spec = text.split()
    claim = evidence.claim(problem_id)
    effect = claim.recorded(part)
    said = format(Size(claim.part(part).judged(effect)), *spec) if effect else "—"
    return [nodes.Text(said)], []


def _wide(table: str) -> nodes.raw:
    return nodes.raw("", f'{marks.style()}<div class="an-wide">{table}</div>', format="html")


class Benchmarks(Directive):
    """``{benchmarks} name``: the rows of ``benchmarks/results/name.json``, or of ``name key``."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        path = Path(env.srcdir, "benchmarks", "results", f"{self.arguments[0]}.json")
        env.note_dependency(str(path))
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = pd.DataFrame(report[self.arguments[1] if self.arguments[1:] else "rows"])
        table = rows.to_html(
            index=False, border=0, classes="an-table", float_format="{:.3g}".format, na_rep=""
        )
        note = ""
        if "torch" in report:
            note = (
                f"<p><small>{report.get('device', 'CPU')}, torch {report['torch']}, threads:"
                f" {report['threads']}, load average {report['load'][0]}.</small></p>"
            )
        return [
            nodes.raw("", f'{marks.style()}<div class="an-wide">{table}</div>{note}', format="html")
        ]


class Records(Directive):
    """``{records}``: what each page's record took, and on what."""

    def run(self) -> list[nodes.Node]:
        rows = [
            {
                "page": page,
                "seconds": f"{record['seconds']:.0f}",
                "date": record["date"],
                "commit": record["commit"][:7],
                "machine": record["machine"],
                "torch": record["versions"]["torch"],
            }
            for page, record in evidence.records().items()
        ]
        env = self.state.document.settings.env
        for path in evidence.PACKAGE.glob("records/**/*.json"):
            env.note_dependency(str(path))
        table = pd.DataFrame(rows).to_html(index=False, border=0, classes="an-table")
        return [_wide(table)]


def write_404(app: Sphinx, _: Exception | None) -> None:
    """Write the page for addresses that lead nowhere; it stands alone, wherever it is served."""
    home = app.config.html_baseurl or "/"
    page = Path(app.srcdir, "_static", "404.html.in").read_text(encoding="utf-8")
    Path(app.outdir, "404.html").write_text(page.replace("{{ home }}", home), encoding="utf-8")


def page_context(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Bring what a page uses and nothing else, and pictures where charts will be."""
    lean.drop_libraries(context)
    body = context.get("body", "").replace(FOLDED, "<summary>")
    if 'class="explorable"' in body:
        context["script_files"].append("_static/vega.js")
    if "tag_hide-input" in body:
        context["header_buttons"].insert(0, FOLD_CONTROL)
    context["body"] = share_letters(lean.plain_code(charts.with_pictures(body)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the parts."""
    app.add_directive("ledger", Ledger)
    app.add_role("verdict", verdict_role)
    app.add_role("effect", effect_role)
    app.add_directive("explorable-of", charts.ExplorableOf)
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("records", Records)
    app.add_directive("outcomes", Outcomes)
    app.add_directive("margins", Margins)
    app.connect("config-inited", lean.mathjax_in_parts)
    app.connect("doctree-resolved", fold_together)
    app.connect("doctree-resolved", exercises_ask)
    app.connect("doctree-resolved", draw_natively)
    app.connect("doctree-resolved", explain_words)
    app.connect("html-page-context", page_context, priority=900)
    app.connect("build-finished", charts.write_vega)
    app.connect("build-finished", write_404)
    app.connect("build-finished", lean.draw_icons, priority=900)
    changed = zlib.crc32(Path(__file__).read_bytes())  # another extension, another environment
    return {"env_version": changed, "parallel_read_safe": True, "parallel_write_safe": True}
