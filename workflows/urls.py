"""Workflow pages and the API."""

from django.urls import path, re_path

from . import (
    api,
    change_views,
    editor_views,
    event_views,
    follow_api,
    intervention_views,
    run_views,
    suppression_views,
    views,
    webhook_views,
    workflow_views,
)
from .interventions import VERBS

ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ANY_CASE_ID = ID.replace("a-f", "a-fA-F")  # as UUIDs are read (RFC 9562 section 4); programs may keep them in capitals

urlpatterns = [
    re_path(r"^$", views.deliveries, name="home"),
    path("workflows/", workflow_views.workflows, name="workflows"),
    path("workflows/_new/", editor_views.new_workflow, name="workflow-new"),
    path("workflows/<slug:slug>/", editor_views.workflow, name="workflow"),
    path("workflows/_new/<slug:starter>/", change_views.start, name="workflow-start"),
    path("workflows/<slug:slug>/delete/", change_views.delete_workflow, name="workflow-delete"),
    re_path(
        r"^workflows/(?P<slug>[-\w]+)/(?P<verb>on|off|duplicate)/$",
        change_views.change_workflow,
        name="workflow-change",
    ),
    path("workflows/<slug:slug>/run/", run_views.start, name="workflow-run"),
    path("workflows/<slug:slug>/preview/", editor_views.preview_action, name="action-preview"),
    path("workflows/<slug:slug>/actions/new/", editor_views.new_action, name="action-new"),
    path("workflows/<slug:slug>/actions/order", change_views.order_actions, name="action-order"),
    path("workflows/<slug:slug>/actions/<int:number>/", editor_views.action, name="action"),
    re_path(
        r"^workflows/(?P<slug>[-\w]+)/actions/(?P<number>\d{1,18})/(?P<verb>up|down|on|off|delete)/$",
        change_views.change_action,
        name="action-change",
    ),
    path("events/", event_views.events, name="events"),
    path("events/<uuid:event>/", event_views.event, name="event"),
    path("runs/", run_views.runs, name="runs"),
    path("runs/<uuid:run>/", run_views.run, name="run"),
    re_path(rf"^runs/(?P<run>{ID})/(?P<verb>cancel|again)/$", run_views.act, name="run-act"),
    path("deliveries/<uuid:pk>/", views.delivery, name="delivery"),
    path("deliveries/<uuid:pk>/mail", views.mail, name="delivery-mail"),
    path("deliveries/<uuid:pk>/mail.eml", views.source, name="delivery-source"),
    path("deliveries/<uuid:pk>/<slug:verb>/", intervention_views.act, name="delivery-act"),
    path("deliveries/all/<slug:verb>/", intervention_views.act_on_all, name="deliveries-act"),
    re_path(r"^events/sendgrid/?$", api.sendgrid_events, name="sendgrid-events"),
    path("suppressed/", suppression_views.suppressed, name="suppressed"),
    path("suppressed/release/", suppression_views.release_all, name="suppressed-release-all"),
    path("suppressed/<int:number>/release/", suppression_views.release, name="suppressed-release"),
    path("configuration/webhooks/", webhook_views.listed, name="webhooks"),
    path("configuration/webhooks/new/", webhook_views.kinds, name="webhook-kinds"),
    path("configuration/webhooks/new/<slug:kind>/", webhook_views.create, name="webhook-new"),
    path("configuration/webhooks/<uuid:endpoint>/", webhook_views.one, name="webhook"),
    path("configuration/webhooks/<uuid:endpoint>/edit/", webhook_views.edit, name="webhook-edit"),
    path("configuration/webhooks/<uuid:endpoint>/secret/", webhook_views.exchange_secret, name="webhook-secret"),
    path("configuration/webhooks/<uuid:endpoint>/address/", webhook_views.exchange_address, name="webhook-address"),
    path("configuration/webhooks/<uuid:endpoint>/test/", webhook_views.rehearse, name="webhook-test"),
    re_path(
        rf"^configuration/webhooks/(?P<endpoint>{ID})/(?P<verb>end-old|retire|take-back|delete)/$",
        webhook_views.act,
        name="webhook-act",
    ),
    re_path(r"^v1/events/?$", api.trigger, name="api-events"),  # a redirect to the slash would lose the body
    re_path(rf"^v1/runs/(?P<run>{ANY_CASE_ID})/?$", follow_api.run, name="api-run"),
    re_path(rf"^v1/runs/(?P<run>{ANY_CASE_ID})/(?P<verb>cancel|again)/?$", follow_api.act_on_run, name="api-run-act"),
    re_path(r"^v1/deliveries/?$", follow_api.deliveries, name="api-deliveries"),
    re_path(rf"^v1/deliveries/(?P<pk>{ANY_CASE_ID})/?$", follow_api.delivery, name="api-delivery"),
    re_path(
        rf"^v1/deliveries/(?P<pk>{ANY_CASE_ID})/(?P<verb>{'|'.join(VERBS)})/?$",
        follow_api.act_on_delivery,
        name="api-delivery-act",
    ),
    re_path(r"^hooks/(?P<address>[\w-]{1,100})/?$", api.receive, name="hook"),
]
