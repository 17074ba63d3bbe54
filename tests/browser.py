"""A parser for HTML pages, and a headless Chromium browser that Selenium drives, for tests."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from selenium import webdriver

# These options enable software-rendered WebGL, so that no graphics card is needed.
WEBGL = ("--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader")
NO_WEBGL = ("--disable-3d-apis",)
AUTOPLAY = ("--autoplay-policy=no-user-gesture-required",)
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--window-size=1400,900",
)


class Page(HTMLParser):
    """The elements of an HTML page, each with the text that follows its tag, and its whole text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_data(self, text):
        self.text += text
        if self.elements:
            self.elements[-1][2] += text

    def find(self, tag: str) -> list[tuple[dict, str]]:
        """Return the attributes and the text of all elements with a tag."""
        return [(one, text.strip()) for name, one, text in self.elements if name == tag]

    @property
    def policy(self) -> str:
        """The content security policy."""
        [policy] = [meta["content"] for meta, _ in self.find("meta") if "http-equiv" in meta]
        return policy


@contextlib.contextmanager
def open_browser(*options: str) -> Iterator[webdriver.Chrome]:
    """Open a browser with an empty profile; skip the test if Chromium is not installed."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        settings = webdriver.ChromeOptions()
        settings.binary_location = chromium
        for option in (*OPTIONS, *options, f"--user-data-dir={profile}"):
            settings.add_argument(option)
        settings.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=chromedriver)
        driver = webdriver.Chrome(options=settings, service=service)
        try:
            yield driver
        finally:
            driver.quit()


@contextlib.contextmanager
def narrow_window(driver: webdriver.Chrome) -> Iterator[None]:
    """Temporarily make the browser window as narrow as a phone screen."""
    size = driver.get_window_size()
    narrow = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.set_window_size(size["width"], size["height"])


def console_errors(driver: webdriver.Chrome) -> list[str]:
    """Return the errors logged to the browser console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
