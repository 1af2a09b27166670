"""A blog: people register, log in, and write."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from flask import Flask, current_app, g, redirect, render_template_string, request, session
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

_TABLES = """
CREATE TABLE IF NOT EXISTS user (name TEXT PRIMARY KEY, password TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS post (author TEXT NOT NULL, title TEXT NOT NULL);
"""
_INDEX = "{% for post in posts %}<h1>{{ post.title }}</h1> by {{ post.author }}{% endfor %}"


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="dev", DATABASE=Path(app.root_path) / "flaskr.sqlite")
    with sqlite3.connect(app.config["DATABASE"]) as database:
        database.executescript(_TABLES)
    app.teardown_appcontext(_close)
    app.add_url_rule("/", "index", _index)
    app.add_url_rule("/auth/register", "register", _register, methods=["POST"])
    app.add_url_rule("/auth/login", "login", _login, methods=["POST"])
    app.add_url_rule("/create", "create", _create, methods=["POST"])
    return app


def _database() -> sqlite3.Connection:
    if "database" not in g:
        g.database = sqlite3.connect(current_app.config["DATABASE"])
        g.database.row_factory = sqlite3.Row
    return g.database


def _close(_error: BaseException | None) -> None:
    if "database" in g:
        g.pop("database").close()


def _index() -> str:
    return render_template_string(_INDEX, posts=_database().execute("SELECT * FROM post"))


def _register() -> Response:
    password = generate_password_hash(request.form["password"])
    with _database() as database:
        database.execute("INSERT INTO user VALUES (?, ?)", (request.form["name"], password))
    return redirect("/")


def _login() -> Response:
    found = _database().execute("SELECT * FROM user WHERE name = ?", (request.form["name"],))
    user = found.fetchone()
    if user is None or not check_password_hash(user["password"], request.form["password"]):
        return Response("Incorrect", 403)
    session["name"] = user["name"]
    return redirect("/")


def _create() -> Response:
    if "name" not in session:
        return Response("Log in first", 403)
    post = (session["name"], request.form["title"])
    with _database() as database:
        database.execute("INSERT INTO post VALUES (?, ?)", post)
    return redirect("/")
