from django.urls import path
from polls import views

urlpatterns = [
    path("", views.index),
    path("<int:key>/", views.detail, name="detail"),
    path("<int:key>/vote/", views.vote, name="vote"),
]
