"""Configuration → Integrations."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.catalogue, name="integrations"),
    path("<slug:kind>/", views.setup, name="integration-setup"),
    path("<slug:kind>/disconnect/", views.disconnect, name="integration-disconnect"),
]
