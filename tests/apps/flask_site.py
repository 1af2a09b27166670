"""A Flask site with what sites have: pages, a session, forms, files, streams and an error.

The Django site beside it answers the same paths in the same way. Files are kept in the directory
`files` of wherever the server runs.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, redirect, request, send_file, session
from werkzeug.utils import secure_filename

app = Flask(__name__)
app.config["SECRET_KEY"] = "the same in every generation, as a session has to outlive them"


@app.get("/")
def home() -> Response:
    response = Response("home\n", mimetype="text/plain")
    response.add_etag()
    return response.make_conditional(request)


@app.get("/who")
def who() -> str:
    environ = request.environ
    return f"{environ['prefork.generation']} {os.getpid()} {environ['REMOTE_PORT']}"


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"{name} {request.args['q']}"


@app.get("/slow")
def slow() -> str:
    time.sleep(0.05)
    return "slow\n"


@app.post("/login")
def login() -> Response:
    session["name"] = request.form["name"]
    return redirect("/me")


@app.get("/me")
def me() -> str:
    return session.get("name", "nobody")


@app.post("/files")
def keep_file() -> str:
    file = request.files["file"]
    Path("files").mkdir(exist_ok=True)
    file.save(Path("files", secure_filename(file.filename)))
    return request.form["note"]


@app.get("/files/<name>")
def give_file(name: str) -> Response:
    return send_file(Path("files", secure_filename(name)).absolute(), as_attachment=True)


@app.post("/digest")
def digest() -> str:
    return hashlib.sha256(request.stream.read()).hexdigest()


@app.get("/stream")
def stream() -> Response:
    return Response(_lines(), mimetype="text/plain")


@app.get("/rows/<int:count>")
def rows(count: int) -> Response:
    return Response((f"{number},row\n" for number in range(count)), mimetype="text/csv")


@app.get("/held/<name>")
def held(name: str) -> Response:
    # The header asks nginx to pass on each part as it comes.
    return Response(_held(Path(name)), mimetype="text/plain", headers={"X-Accel-Buffering": "no"})


@app.get("/broken")
def broken() -> str:
    raise RuntimeError("broken on purpose")


def _lines() -> Iterator[str]:
    for number in range(20):
        time.sleep(0.001)
        yield f"line {number}\n"


def _held(path: Path) -> Iterator[str]:
    """A line, and when the file is there another one."""
    yield "first\n"
    while not path.exists():
        time.sleep(0.01)
    yield "last\n"
