"""Chromium, as a browser that plays what the product serves."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

VIDEO_STATE = """() => {
  const video = document.querySelector("video");
  return { time: video.currentTime, width: video.videoWidth, height: video.videoHeight, duration: video.duration,
           error: video.error && video.error.message, frames: video.getVideoPlaybackQuality().totalVideoFrames };
}"""


@dataclass
class Browser:
    """One page, and what went wrong in it."""

    page: Page
    failures: list[str] = field(default_factory=list)

    def plays_until(self, seconds: float, timeout_s: float = 30) -> dict[str, Any]:
        """The state of the page's video once it has played that far; fails the test when it does not."""
        reached = f"() => {{ const v = document.querySelector('video'); return v.error || v.currentTime > {seconds} }}"
        self.page.wait_for_function(reached, timeout=timeout_s * 1000)
        state: dict[str, Any] = self.page.evaluate(VIDEO_STATE)
        assert state["error"] is None, f"the video element failed: {state['error']}"
        return state


@contextmanager
def chromium(width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A headless browser with one empty page; skips the test where there is none."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=_ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            found = Browser(page)
            page.on("pageerror", lambda error: found.failures.append(str(error)))
            page.on("console", lambda line: found.failures.append(line.text) if line.type == "error" else None)
            yield found
        finally:
            browser.close()
