"""Configuration → People, API tokens, Audit log."""

from django.urls import path

from . import audit_views, people_views, token_views

urlpatterns = [
    path("people/", people_views.listed, name="people"),
    path("people/<int:pk>/role/", people_views.change_role, name="person-role"),
    path("people/<int:pk>/email/", people_views.change_address, name="person-email"),
    path("people/<int:pk>/link/", people_views.new_link, name="person-link"),
    path("people/<int:pk>/deactivate/", people_views.deactivate, name="person-deactivate"),
    path("people/<int:pk>/reactivate/", people_views.reactivate, name="person-reactivate"),
    path("tokens/", token_views.listed, name="tokens"),
    path("tokens/<int:pk>/revoke/", token_views.revoke, name="token-revoke"),
    path("audit/", audit_views.listed, name="audit"),
    path("audit.csv", audit_views.export, name="audit-export"),
]
