"""Workflow pages and the API."""

from django.urls import re_path

from . import api, views, workflow_views

urlpatterns = [
    re_path(r"^$", views.deliveries, name="home"),
    re_path(r"^workflows/$", workflow_views.workflows, name="workflows"),
    re_path(r"^v1/events/?$", api.trigger, name="api-events"),  # a redirect to the slash would lose the body
]
