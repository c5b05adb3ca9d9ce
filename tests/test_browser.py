"""The built site in a headless browser: offline, without errors, moved by keyboard, readable."""

import functools
import math
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from actnorm import descent, gaussian

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if not path.relative_to(HTML).as_posix().startswith("_")
)
pytestmark = pytest.mark.browser
EXPLORED = "chapters/zero-centering/sign-coherence.html"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def served():
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "these tests open the site in Debian's chromium: apt-get install chromium"
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-quic"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


def opened(browser, address, **context):
    """Open a page and return it with everything that went wrong."""
    page = browser.new_context(**context).new_page()
    wrong = []
    root = address[: address.index("/", 8)] if address.startswith("http") else "file:///"

    def on_console(message):
        # The theme preloads its icon font; from a folder the browser refuses, and loads it later.
        preload = root == "file:///" and (
            re.search(r"(preload for|font at) 'file:.*\.woff2'", message.text)
            or message.text == "Failed to load resource: net::ERR_FAILED"
        )
        if message.type in ("error", "warning") and not preload:
            wrong.append(f"console: {message.text}")

    def on_request(request):
        if not request.url.startswith((root, "data:", "blob:")):
            wrong.append(f"request: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
    page.on("request", on_request)
    page.on("response", lambda r: r.status < 400 or wrong.append(f"{r.status}: {r.url}"))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    return page, wrong


def test_there_are_pages():
    assert EXPLORED in PAGES, "build the site first: make book"


@pytest.mark.parametrize("where", ["served", "file"])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_and_asks_for_nothing_elsewhere(browser, served, name, where):
    address = served + name if where == "served" else (HTML / name).as_uri()
    page, wrong = opened(browser, address)
    assert not wrong
    text = (HTML / name).read_text(encoding="utf-8")
    if 'class="math' in text:
        assert page.locator("mjx-container").count() > 0
    for chart in page.locator(".explorable").all():
        assert chart.locator("svg.marks").count() == 1
        assert chart.evaluate("element => Boolean(element.view)")
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_links_within_the_site_lead_somewhere(name):
    text = (HTML / name).read_text(encoding="utf-8")
    for link in re.findall(r'(?:href|src)="([^"#?]+)', text):
        if not re.match(r"[a-z]+:|//", link) and name != "404.html":
            assert ((HTML / name).parent / link).exists(), link


@pytest.mark.parametrize("name", [page for page in PAGES if page not in ("genindex.html",)])
def test_phone_needs_no_sideways_scrolling(browser, served, name):
    page, _ = opened(browser, served + name, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [page for page in PAGES if page != "genindex.html"])
def test_contrast_meets_wcag_aa(browser, served, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, _ = opened(browser, served + name, color_scheme=scheme)
    options = {"runOnly": {"type": "rule", "values": ["color-contrast", "label", "image-alt"]}}
    found = axe.run(page, options=options).response["violations"]
    ours = [
        (violation["id"], node["html"][:120], node["any"][0]["message"])
        for violation in found
        for node in violation["nodes"]
    ]
    assert not ours
    page.context.close()


def readout(mean, variance, width):
    """Largest eigenvalue, and the steps to a tenth in the others' direction."""
    largest, _ = descent.offset_eigenvalues(mean, variance, width)
    return largest, math.log(0.1) / (2 * math.log(1 - variance / largest))


def mean_slopes(std):
    return gaussian.mean_slope("tanh", std=std), gaussian.mean_slope("sigmoid", std=std)


def remapped(width):
    forward = np.diag([4.0] * int(width) + [2.0])
    forward[-1, :-1] = -2
    steps = readout(0.5, gaussian.moments("tanh").variance / 4, int(width))[1]
    return np.linalg.cond(forward) ** 2, steps


def part_of_the_mean(share):
    sigmoid = gaussian.moments("sigmoid")
    return readout((1 - share) * sigmoid.mean, sigmoid.variance, 64)


def blocks(gain, depth):
    """Variance, memory and gradient of a residual network whose first block is plain."""
    variance, kept, energy = 2.0, 1.0, 1 + math.pi / (math.pi - 1)
    for _ in range(int(depth) - 1):
        energy *= gain + math.pi / (math.pi - 1) / variance
        variance, kept = gain * variance + 1, gain * kept
    return variance, math.sqrt(kept / variance), math.sqrt(energy)


def fresh_relu(gain, depth):
    q, c = gain**2, 0.0
    for _ in range(int(depth) - 1):
        c = gaussian.correlation_map("relu", c, q)
        q = gaussian.length_map("relu", q, gain**2)
    return q, q * (1 - c)


LAWS = {
    "sign-coherence": lambda offset: readout(offset, gaussian.moments("tanh").variance, 64),
    "slope-at-the-origin": mean_slopes,
    "two-curves-one-family": remapped,
    "forced-centring": part_of_the_mean,
    "residual-alignment": blocks,
    "variance-decay": fresh_relu,
}


@pytest.mark.parametrize("name", LAWS)
def test_sliders_move_by_keyboard_and_show_the_librarys_numbers(browser, served, name):
    page, wrong = opened(browser, f"{served}chapters/zero-centering/{name}.html")
    chart = page.locator(".explorable").first
    sliders = chart.locator("input[type=range]").all()
    for slider in sliders:
        slider.focus()
        pictures = set()
        for key in ["Home", *["ArrowRight"] * 2, "End", *["ArrowLeft"] * 3]:
            page.keyboard.press(key)
            page.wait_for_timeout(80)
            pictures.add(chart.locator("svg").inner_html())
            labels = chart.locator("svg [aria-label]").evaluate_all(
                "nodes => nodes.map(node => node.getAttribute('aria-label'))"
            )
            shown = {t for t in labels if re.fullmatch(r"[-+\d.e]+( [-+\d.e]+)+", t)}
            exact = LAWS[name](*(float(each.input_value()) for each in sliders))
            (text,) = shown
            rounding = 0 if "e" in text else 6e-9
            found = list(map(float, text.split()))
            assert found == pytest.approx(exact, rel=1e-6, abs=rounding)
        assert len(pictures) == 7
    assert not wrong
    page.context.close()


def test_law_of_two_streams_passes_through_what_the_layers_did(browser, served):
    """Its law holds fitted numbers of one convolution; the dots come from torch's own layers."""
    page, wrong = opened(browser, served + "chapters/zero-centering/two-streams.html")
    chart = page.locator(".explorable").first
    dots = chart.evaluate(
        """element => Object.values(element.view.getState({data: () => true}).data).flat()
            .filter(row => row.style && row.norm !== "instance")"""
    )
    assert len({dot["style"] for dot in dots}) == 2
    for dot in dots:
        label = chart.evaluate(
            """async (element, [g, o]) => {
                await element.view.signal("g", g).signal("brightness", o).runAsync();
                return [...element.querySelectorAll("svg [aria-label]")]
                    .map(node => node.getAttribute("aria-label"));
            }""",
            [float(dot["style"].removeprefix("g = ")), dot["o"]],
        )
        (text,) = {t for t in label if re.fullmatch(r"[-+\d.e]+( [-+\d.e]+)+", t)}
        shown = dict(zip(("layer", "batch"), map(float, text.split()), strict=True))
        assert shown[dot["norm"]] == pytest.approx(dot["change"], rel=1e-3, abs=1e-3)
    assert not wrong
    page.context.close()


def test_explorable_shows_a_picture_without_scripts(browser, served):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served + EXPLORED)
    assert page.locator(".explorable svg").first.bounding_box()["height"] > 100
    context.close()


def test_ledger_is_filtered_by_verdict_and_words(browser, served):
    page, _ = opened(browser, served + "ledger.html")
    claims = page.locator(".an-claim")
    assert claims.count() == 37
    page.locator(".an-filter input[type=search]").fill("sigmoid")
    visible = page.locator(".an-claim:visible")
    assert 0 < visible.count() < 37
    page.locator(".an-filter select").first.select_option(index=1)
    assert page.locator(".an-claim:visible").count() <= visible.count()
    page.context.close()


def test_downloads_and_launch(browser, served):
    page, _ = opened(browser, served + EXPLORED)
    assert page.locator("a.btn-download-source-button").count() == 1
    assert page.locator("a[href*='colab.research.google.com']").count() == 0
    page.context.close()
