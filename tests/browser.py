"""A real browser for the tests of pages: Debian's Chromium, headless, driven by Selenium."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Without a graphics card, WebGL is drawn by software, which Chromium has to be told to trust.
WEBGL = ("--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader")
NO_WEBGL = ("--disable-3d-apis",)
MAY_PLAY = ("--autoplay-policy=no-user-gesture-required",)
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


@contextlib.contextmanager
def browser(*options: str) -> Iterator["Chrome"]:
    """A browser with a new, empty profile, or a skip where none is installed."""
    places = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in places:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    from selenium import webdriver

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        chosen = webdriver.ChromeOptions()
        chosen.binary_location = places[0]
        for option in (*OPTIONS, *options, f"--user-data-dir={profile}"):
            chosen.add_argument(option)
        chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=places[1])
        driver = webdriver.Chrome(options=chosen, service=service)
        try:
            yield driver
        finally:
            driver.quit()


@contextlib.contextmanager
def narrow(driver: "Chrome", width: int = 400) -> Iterator[None]:
    """The window as a telephone's."""
    wide = driver.get_window_size()
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.set_window_size(wide["width"], wide["height"])


def errors(driver: "Chrome") -> list[str]:
    """What the console holds of errors, since last asked; a driver's advice on speed is none."""
    return [one["message"] for one in driver.get_log("browser") if one["level"] == "SEVERE"]
