"""Every address of the site."""

from django.urls import include, path, re_path

from .frame import choose_theme
from .http import unknown
from .monitoring_views import metrics

urlpatterns = [
    path("metrics", metrics, name="metrics"),
    path("theme/", choose_theme, name="theme"),
    path("", include("integrations.sign_in_urls")),
    path("configuration/integrations/", include("integrations.urls")),
    path("configuration/", include("integrations.people_urls")),
    path("", include("workflows.urls")),
    re_path(r"^v1/", unknown, name="api-unknown"),  # below the addresses of the API, which go first
]

handler500 = "rootmail.trouble.came_to_nothing"
