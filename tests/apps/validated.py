"""Apps of real frameworks, and the demo, with the validator of the standard library around them."""

from __future__ import annotations

from typing import Any
from wsgiref.validate import validator

from prefork import demo
from tests.apps import django_site, flask_site

_validator: Any = validator

flask = _validator(flask_site.app)
django = _validator(django_site.application)
shown = _validator(demo.app)
