"""Log-in, the first admin, one's own account, passwords."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from . import account_views
from . import sign_in_views as views

urlpatterns = [
    path("login/", views.LogIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("first-admin/", views.first_admin, name="first-admin"),
    path("account/", account_views.account, name="account"),
    path("password/", views.PasswordChange.as_view(), name="password_change"),
    path("password/forgotten/", views.forgotten, name="password_reset"),
    path("password/set/<uidb64>/<token>/", views.PasswordSet.as_view(), name="password_reset_confirm"),
]
