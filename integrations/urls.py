"""Configuration → Integrations."""

from django.urls import path

from . import check_views, views

urlpatterns = [
    path("", views.catalogue, name="integrations"),
    path("<slug:kind>/", views.setup, name="integration-setup"),
    path("<slug:kind>/check/", check_views.begin, name="integration-check"),
    path("<slug:kind>/check/<uuid:pk>/", check_views.progress, name="integration-check-progress"),
    path("<slug:kind>/apply/", check_views.apply, name="integration-apply"),
    path("<slug:kind>/detect/", check_views.detect, name="integration-detect"),
    path("<slug:kind>/mode/", check_views.mode, name="integration-mode"),
    path("<slug:kind>/test/", views.test_mail, name="integration-test"),
    path("<slug:kind>/try/", views.try_now, name="integration-try"),
    path("<slug:kind>/disconnect/", views.disconnect, name="integration-disconnect"),
]
