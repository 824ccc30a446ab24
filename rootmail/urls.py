"""Every address of the site."""

from django.urls import include, path

from .frame import choose_theme

urlpatterns = [
    path("theme/", choose_theme, name="theme"),
    path("", include("integrations.sign_in_urls")),
    path("configuration/integrations/", include("integrations.urls")),
    path("configuration/", include("integrations.people_urls")),
    path("", include("workflows.urls")),
]
