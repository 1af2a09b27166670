"""A Django site in one file, which answers as the Flask site beside it does, path by path.

The session is kept in a signed cookie, so there is no database. DEBUG is on, for Django's own
error page.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

settings.configure(
    DEBUG=True,
    SECRET_KEY="the same in every generation, as a session has to outlive them",
    ALLOWED_HOSTS=["127.0.0.1", "test"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return _text("home\n")


def who(request: HttpRequest) -> HttpResponse:
    meta = request.META
    return _text(f"{meta['prefork.generation']} {os.getpid()} {meta['REMOTE_PORT']}")


def hello(request: HttpRequest, name: str) -> HttpResponse:
    return _text(f"{name} {request.GET['q']}")


def slow(request: HttpRequest) -> HttpResponse:
    time.sleep(0.05)
    return _text("slow\n")


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    request.session["name"] = request.POST["name"]
    return HttpResponseRedirect("/me")


def me(request: HttpRequest) -> HttpResponse:
    return _text(request.session.get("name", "nobody"))


@require_POST
def keep_file(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    Path("files").mkdir(exist_ok=True)
    with open(Path("files", file.name), "wb") as kept:
        for part in file.chunks():
            kept.write(part)
    return _text(request.POST["note"])


@require_safe
def give_file(request: HttpRequest, name: str) -> FileResponse:
    return FileResponse(open(Path("files", name), "rb"), as_attachment=True)


@require_POST
def digest(request: HttpRequest) -> HttpResponse:
    # The stream, not `request.body`, which Django refuses to fill with more than 2.5 MB.
    digest = hashlib.sha256()
    while part := request.read(1 << 16):
        digest.update(part)
    return _text(digest.hexdigest())


@require_safe
def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_lines(), content_type="text/plain")


def rows(request: HttpRequest, count: int) -> StreamingHttpResponse:
    made = (f"{number},row\n" for number in range(count))
    return StreamingHttpResponse(made, content_type="text/csv")


def held(request: HttpRequest, name: str) -> StreamingHttpResponse:
    # The header asks nginx to pass on each part as it comes.
    return StreamingHttpResponse(_held(Path(name)), headers={"X-Accel-Buffering": "no"})


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken on purpose")


def _text(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _lines() -> Iterator[str]:
    for number in range(20):
        time.sleep(0.001)
        yield f"line {number}\n"


def _held(awaited: Path) -> Iterator[str]:
    """A line, and when the file is there another one."""
    yield "first\n"
    while not awaited.exists():
        time.sleep(0.01)
    yield "last\n"


urlpatterns = [
    path("", home),
    path("who", who),
    path("hello/<name>", hello),
    path("slow", slow),
    path("login", login),
    path("me", me),
    path("files", keep_file),
    path("files/<name>", give_file),
    path("digest", digest),
    path("stream", stream),
    path("rows/<int:count>", rows),
    path("held/<name>", held),
    path("broken", broken),
]

application = get_wsgi_application()
