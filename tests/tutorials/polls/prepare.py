"""What the tutorial has people type, once: the tables, and a question."""

import django
from django.core.management import call_command

django.setup()
call_command("migrate", "polls", run_syncdb=True, verbosity=0)

from polls.models import Question  # noqa: E402  not before the setup

question = Question.objects.create(text="What's new?")
question.choice_set.create(text="Not much")
question.choice_set.create(text="The sky")
