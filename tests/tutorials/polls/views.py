from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from polls.models import Question


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "polls/index.html", {"questions": Question.objects.all()})


def detail(request: HttpRequest, key: int) -> HttpResponse:
    question = get_object_or_404(Question, pk=key)
    return render(request, "polls/detail.html", {"question": question})


def vote(request: HttpRequest, key: int) -> HttpResponse:
    choice = get_object_or_404(Question, pk=key).choice_set.get(pk=request.POST["choice"])
    choice.votes = F("votes") + 1
    choice.save()
    return HttpResponseRedirect(reverse("detail", args=(key,)))
