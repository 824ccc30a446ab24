"""Workflow pages and the API."""

from django.urls import path, re_path

from . import api, intervention_views, views, workflow_views

urlpatterns = [
    re_path(r"^$", views.deliveries, name="home"),
    path("workflows/", workflow_views.workflows, name="workflows"),
    path("deliveries/<uuid:pk>/", views.delivery, name="delivery"),
    path("deliveries/<uuid:pk>/mail", views.mail, name="delivery-mail"),
    path("deliveries/<uuid:pk>/mail.eml", views.source, name="delivery-source"),
    path("deliveries/<uuid:pk>/<slug:verb>/", intervention_views.act, name="delivery-act"),
    path("deliveries/all/<slug:verb>/", intervention_views.act_on_all, name="deliveries-act"),
    re_path(r"^v1/events/?$", api.trigger, name="api-events"),  # a redirect to the slash would lose the body
]
