"""A headless Chromium, told what to do by its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.support.server import PATIENCE, eventually

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")


class Page:
    """A page in the browser.

    Args:
        url: the WebSocket of its DevTools.
    """

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, PATIENCE, suppress_origin=True)
        self._numbers = itertools.count(1)

    def command(self, method: str, **parameters: Any) -> Any:
        """Do something of the DevTools protocol: what comes of it."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != number:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def text(self, element: str) -> str:
        """The text of the element with this id."""
        expression = f"document.getElementById({element!r})?.textContent ?? ''"
        found: str = self.command("Runtime.evaluate", expression=expression)["result"]["value"]
        return found

    def picture(self, path: Path, width: int, height: int, scheme: str = "light") -> None:
        """Write a PNG of the page, as wide and as high as this, light or dark."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        preference = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=preference)
        data = self.command("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Let go of the page, which the browser keeps."""
        self._socket.close()


@contextlib.contextmanager
def browsing(url: str, directory: Path) -> Iterator[Page]:
    """A browser that shows this page; its profile and its log are kept in the directory."""
    with open(directory / "chromium.log", "wb") as log:
        process = subprocess.Popen(
            [
                str(CHROMIUM),
                "--headless=new",
                "--no-sandbox",  # root may not have one
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={directory / 'profile'}",
                url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        page = Page(eventually(lambda: _devtools(directory / "profile"), "the browser"))
        yield page
        page.close()
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _devtools(profile: Path) -> str:
    """Where the DevTools of the first page are; empty as long as they are nowhere."""
    try:
        port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            targets = json.load(answer)
    except (FileNotFoundError, IndexError, OSError):
        return ""
    return next((each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page"), "")
