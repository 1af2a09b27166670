"""The demo in a browser: its page sees a reload, and a broken deploy, and loses no request."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.conftest import Serve
from tests.support.browser import Page, browsing, needs_chromium
from tests.support.server import Server, eventually


def deploy(server: Server, code: str) -> None:
    """Put this code in place of the app's, and reload: see `Server.wait_for` for what comes of it.

    Its time of change is set, since Python goes by that whether to compile it anew.
    """
    module = server.directory / "shown.py"
    since = module.stat().st_mtime
    module.write_text(code)
    os.utime(module, (since + 2, since + 2))
    server.send(signal.SIGHUP)


def answers_more(page: Page) -> None:
    """Wait until the page has had answers to requests that it has not sent yet."""
    now = int(page.text("answered"))
    eventually(lambda: int(page.text("answered")) > now + 8, "further answers")


@needs_chromium
def test_the_page_sees_a_reload_and_no_broken_deploy_and_loses_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "shown.py").write_text("from prefork.demo import app\n")
    server = serve("shown:app", workers=2)
    with browsing(server.url, tmp_path) as page:
        eventually(lambda: page.text("generation") == "1", "the first answer")

        deploy(server, "from prefork.demo import app as app\n")
        eventually(lambda: page.text("generation") == "2", "an answer of the new generation")
        server.wait_for("reload .*done")
        assert "generation 1 → 2" in page.text("events")

        since = server.mark()
        deploy(server, "oops\n")
        server.wait_for("reload .*aborted", since)
        answers_more(page)
        assert page.text("generation") == "2"
        assert page.text("failed") == "0"

        server.stop()
        eventually(lambda: page.text("failed") != "0", "the page to count what is lost")
