"""The built site, served and from its folder, in one headless Chromium for each worker."""

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from visit import HTML


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def served():
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "these tests open the site in Debian's chromium: apt-get install chromium"
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-quic"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def wide(browser):
    """A desk's window, in the light."""
    return browser.new_context(color_scheme="light")


@pytest.fixture(scope="session")
def phone(browser):
    """A phone, in the dark."""
    return browser.new_context(color_scheme="dark", viewport={"width": 390, "height": 844})
