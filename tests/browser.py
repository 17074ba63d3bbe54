"""A headless Chromium browser, driven by Selenium, for testing HTML pages."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

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


@contextlib.contextmanager
def open_browser(*options: str) -> Iterator["Chrome"]:
    """Open a browser with an empty profile; skip the test if Chromium is not installed."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    from selenium import webdriver

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
def narrow_window(driver: "Chrome", width: int = 400) -> Iterator[None]:
    """Temporarily make the browser window as narrow as a phone screen."""
    size = driver.get_window_size()
    narrow = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.set_window_size(size["width"], size["height"])


def console_errors(driver: "Chrome") -> list[str]:
    """Return the errors logged to the browser console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
