"""Every address of the site."""

from django.contrib.auth import views as auth
from django.urls import include, path

from .frame import choose_theme

urlpatterns = [
    path("login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("theme/", choose_theme, name="theme"),
    path("configuration/integrations/", include("integrations.urls")),
    path("", include("workflows.urls")),
]
