"""Configuration → Webhooks: make, look, try, exchange, retire, delete."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from integrations.models import AuditEvent
from tests.damage import lose_key_of
from tests.test_documents import changed
from workflows import documents, endpoints, webhook_help
from workflows.models import Event, Run
from workflows.webhook_forms import PROOFS
from workflows.webhook_models import WebhookEndpoint, WebhookReceipt
from workflows.webhooks import SENDERS
from workflows.webhooks.signatures import SCHEMES

pytestmark = pytest.mark.django_db

WEBHOOKS = "/configuration/webhooks/"
LIMITS = {"posts_per_minute": "120", "events_per_minute": "300"}
MAPPING = "event = incident_created\nid = $.uuid\nincident.title = $.message\nincident.severity = $.level"


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def fields_of(answer: Any) -> list[str]:
    return re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', answer.content.decode())


def made(**values: Any) -> WebhookEndpoint:
    row = WebhookEndpoint(**{"name": "monitoring", "kind": "alertmanager", "scheme": "bearer"} | values)
    endpoints.create(row, actor="ada")
    return row


def page_of(row: WebhookEndpoint, name: str = "webhook", **arguments: str) -> str:
    return reverse(name, kwargs={"endpoint": row.pk} | arguments)


def recorded() -> list[tuple[str, str]]:
    found = AuditEvent.objects.filter(action__startswith="webhook").order_by("pk")
    return [(event.actor, event.action) for event in found]


class TestMaking:
    def test_every_kind_can_be_chosen_and_asks_for_its_own_options_only(self, as_admin: Client) -> None:
        chosen = as_admin.get(f"{WEBHOOKS}new/")
        assert [kind for kind in SENDERS if f'href="{WEBHOOKS}new/{kind}/"' not in chosen.content.decode()] == []
        usual = {"name", "scheme", "secret", "posts_per_minute", "events_per_minute", "csrfmiddlewaretoken", "next"}
        asked = {kind: set(fields_of(as_admin.get(f"{WEBHOOKS}new/{kind}/"))) - usual for kind in SENDERS}
        assert asked == {
            "alertmanager": {"grouping", "severities", "signature_header"},
            "grafana": {"grouping", "severities", "signature_header", "timestamp_header"},
            "pagerduty": {"severities", "signature_header"},
            "rootly": {"private", "severities", "signature_header"},
            "opsgenie": {"severities", "signature_header"},
            "datadog": {"severities", "signature_header"},
            "incident_io": {"severities"},
            "firehydrant": {"severities", "signature_header"},
            "cloudevents": {"mapping", "severities", "signature_header"},
            "json": {"mapping", "severities", "signature_header"},
        }

    def test_shows_a_secret_once_and_an_address_that_is_none(self, as_admin: Client) -> None:
        values = {"name": "Monitoring", "scheme": "bearer", "grouping": "alert", "severities": "critical = sev0"}
        answer = as_admin.post(f"{WEBHOOKS}new/alertmanager/", values | LIMITS)
        row = WebhookEndpoint.objects.get()
        assert (answer.status_code, row.options) == (200, {"grouping": "alert", "severities": "critical = sev0"})
        assert row.secret
        assert set(re.findall(r"/hooks/([\w-]+)/", answer.content.decode())) == {str(row.pk)}
        assert endpoints.find(str(row.pk)) == row
        assert f'credentials: "{row.secret}"' in unescape(answer.content.decode()), "ready to copy"
        assert row.secret not in as_admin.get(page_of(row)).content.decode()
        assert as_admin.post(f"{WEBHOOKS}new/alertmanager/", values | LIMITS).status_code == 422, "a reload"
        assert row.secret not in str(list(AuditEvent.objects.values()))
        assert recorded() == [("ada", "webhook created")]

    def test_shows_the_address_once_where_it_is_the_secret(self, as_admin: Client) -> None:
        values = {"name": "CI", "scheme": "none", "mapping": MAPPING, **LIMITS}
        answer = as_admin.post(f"{WEBHOOKS}new/json/", values)
        row = WebhookEndpoint.objects.get()
        [token] = set(re.findall(r"/hooks/([\w-]+)/", answer.content.decode()))
        assert (len(token), endpoints.find(token), endpoints.find(str(row.pk))) == (43, row, None)
        assert token not in as_admin.get(page_of(row)).content.decode()
        assert token not in str(list(AuditEvent.objects.values()))

    def test_a_secret_of_the_sender_may_be_pasted_later(self, as_admin: Client) -> None:
        as_admin.post(f"{WEBHOOKS}new/pagerduty/", {"name": "Pager", "scheme": "pagerduty", **LIMITS})
        row = WebhookEndpoint.objects.get()
        assert (row.secret, row.secrets) == (None, [])
        assert "secret is missing, so nothing is taken yet" in text_of(as_admin.get(page_of(row)))
        assert as_admin.post(page_of(row, "webhook-secret"), {"secret": ""}).status_code == 422
        answer = as_admin.post(page_of(row, "webhook-secret"), {"secret": "theirs"}, follow=True)
        assert "The secret is in force" in text_of(answer)
        assert "secret is missing" not in text_of(answer)
        assert WebhookEndpoint.objects.get().secrets == ["theirs"]

    @pytest.mark.parametrize(
        ("kind", "values", "said"),
        [
            ("json", {"mapping": "event = alert_created\nalert.title $.x"}, "Line 2: write a name, '=' and a value"),
            ("json", {"mapping": ""}, "This field is required."),
            ("json", {"mapping": MAPPING, "severities": "critical"}, "Line 1: write a name, '=' and a value"),
            ("json", {"mapping": MAPPING, "scheme": "pagerduty"}, "Select a valid choice."),
            ("json", {"mapping": MAPPING, "signature_header": "X: y"}, "letters, digits and hyphens only"),
            ("json", {"mapping": MAPPING, "scheme": "basic", "secret": "x"}, "write it as user:password"),
            ("json", {"mapping": MAPPING, "scheme": "standard", "secret": "whsec_no*64"}, "whsec_ stands base64"),
            ("json", {"mapping": MAPPING, "posts_per_minute": "0"}, "greater than or equal to 1"),
            ("alertmanager", {"name": "taken", "grouping": "group"}, "There is a webhook with this name"),
            ("alertmanager", {"name": "x" * 101, "grouping": "group"}, "at most 100 characters"),
        ],
    )
    def test_says_what_is_wrong(self, as_admin: Client, kind: str, values: dict[str, str], said: str) -> None:
        made(name="taken")
        answer = as_admin.post(f"{WEBHOOKS}new/{kind}/", {"name": "new", "scheme": "none", **LIMITS} | values)
        assert answer.status_code == 422
        assert said in text_of(answer)
        assert WebhookEndpoint.objects.count() == 1

    def test_an_unknown_kind_is_not_found(self, as_admin: Client) -> None:
        assert as_admin.get(f"{WEBHOOKS}new/carrier-pigeon/").status_code == 404

    @pytest.mark.parametrize("kind", SENDERS)
    def test_every_kind_can_be_made_with_each_proof_and_its_sample_becomes_events(
        self, as_admin: Client, kind: str
    ) -> None:
        for proof in PROOFS[kind]:
            values = {"name": proof, "scheme": proof, "grouping": "group", "mapping": MAPPING, **LIMITS}
            answer = as_admin.post(f"{WEBHOOKS}new/{kind}/", values)
            assert answer.status_code == 200, text_of(answer)
            row = WebhookEndpoint.objects.get(name=proof)
            tried = as_admin.post(page_of(row, "webhook-test"), {"body": webhook_help.sample(kind)})
            assert tried.status_code == 200, text_of(tried)
            assert "No event." not in text_of(tried)

    def test_a_proof_is_one_that_can_be_checked(self) -> None:
        assert {proof for proofs in PROOFS.values() for proof in proofs} == set(SCHEMES)
        assert {kind: sender.scheme in PROOFS[kind] for kind, sender in SENDERS.items()} == dict.fromkeys(PROOFS, True)


class TestLooking:
    def test_the_list_says_how_each_one_stands(self, as_admin: Client, client: Client) -> None:
        waiting, retired, stored = made(), made(name="old"), made(name="ci", kind="json", scheme="none")
        endpoints.set_retired(retired, True, actor="ada")
        WebhookReceipt.objects.create(endpoint=stored, at=stored.created_at, outcome="ignored", status=200, reason="r")
        WebhookReceipt.objects.create(endpoint=waiting, at=stored.created_at, outcome="test", status=200)
        badge = r'webhooks/([\w-]{36})/">.*?</h2>\s*<span class="badge[^>]*>([^<]+)'
        found = re.findall(badge, as_admin.get(WEBHOOKS).content.decode(), re.S)
        assert found == [
            (str(stored.pk), "Ignored"),
            (str(waiting.pk), "Waiting for the first delivery"),
            (str(retired.pk), "Retired"),
        ]

    def test_an_empty_list_says_what_to_do(self, as_admin: Client) -> None:
        assert "No webhook yet" in text_of(as_admin.get(WEBHOOKS))

    def test_a_delivery_leads_to_its_runs_and_shows_what_was_posted(self, as_admin: Client) -> None:
        documents.load(changed("wait", None))
        row = made(kind="json", scheme="none", options={"mapping": MAPPING})
        token = endpoints.exchange_address(row, actor="ada").address.split("/")[-2]
        body = {"uuid": "1", "message": "<b>Slow</b>", "level": "sev0", "password": "hunter2"}
        assert Client().post(f"/hooks/{token}/", json.dumps(body), "application/json").status_code == 202
        html = as_admin.get(page_of(row)).content.decode()
        assert reverse("run", args=[Run.objects.get().pk]) in html
        assert "&lt;b&gt;Slow" in html
        assert "hunter2" not in html
        assert "Waiting for the first" not in html

    def test_an_editor_looks_and_finds_nothing_to_change(self, client: Client, team: dict[str, User]) -> None:
        row = made()
        client.force_login(team["Editor"])
        html = client.get(page_of(row)).content.decode()
        assert "None yet" in html
        assert [action for action in re.findall(r'action="([^"]+)"', html) if str(row.pk) in action] == []
        assert f"{WEBHOOKS}new/" not in client.get(WEBHOOKS).content.decode()

    def test_a_secret_that_cannot_be_read_hides_no_page_and_can_be_exchanged(self, as_admin: Client) -> None:
        row = made()
        lose_key_of(row, "secret")
        assert [as_admin.get(page).status_code for page in (WEBHOOKS, page_of(row), page_of(row, "webhook-edit"))] == [
            200
        ] * 3
        assert as_admin.post(page_of(row, "webhook-test"), {"body": "{}"}).status_code == 422
        assert as_admin.post(page_of(row, "webhook-secret"), {"secret": ""}).status_code == 200
        assert len(WebhookEndpoint.objects.get().secrets) == 1


class TestTrying:
    def test_shows_what_would_become_of_a_payload_and_triggers_nothing(self, as_admin: Client) -> None:
        documents.load(changed("wait", None))
        row = made(kind="json", scheme="standard", options={"mapping": MAPPING, "severities": "critical = sev0"})
        answer = as_admin.post(page_of(row, "webhook-test"), {"body": '{"uuid": "1", "level": "critical"}'})
        said = text_of(answer)
        assert "incident_created" in said
        assert f"{documents.dump()['workflows'][0]['name']} would run." in said
        assert '"severity": "sev0"' in said
        assert not Event.objects.exists()
        assert list(WebhookReceipt.objects.values_list("outcome", "status")) == [("test", 200)]
        assert "Waiting for the first delivery" in text_of(as_admin.get(page_of(row))), "a test is no delivery"
        assert recorded()[-1] == ("ada", "webhook tested")

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("", "This field is required."),
            ("{", "This is not JSON that can be read"),
            ("[]", "must be an object"),
            ('{"x": 1}', "There is no list 'alerts'"),
        ],
    )
    def test_says_why_it_would_be_refused(self, as_admin: Client, body: str, said: str) -> None:
        answer = as_admin.post(page_of(made(), "webhook-test"), {"body": body})
        assert answer.status_code == 422
        assert said in text_of(answer)


class TestChanging:
    def test_edits_an_endpoint_and_keeps_its_secret_and_address(self, as_admin: Client) -> None:
        row = made(options={"grouping": "alert", "severities": "critical = sev0"})
        before = (row.digest, row.secret)
        shown = as_admin.get(page_of(row, "webhook-edit")).content.decode()
        assert "critical = sev0" in shown
        assert '<option value="alert" selected>' in shown
        assert 'name="secret"' not in shown
        values = {"name": "Metrics", "scheme": "header", "signature_header": "X-Key", "grouping": "group"}
        answer = as_admin.post(page_of(row, "webhook-edit"), values | LIMITS | {"posts_per_minute": "7"}, follow=True)
        assert "'Metrics' is saved." in text_of(answer)
        assert "exchange the secret where it needs one of its own" in text_of(answer)
        row = WebhookEndpoint.objects.get()
        assert (row.name, row.scheme, row.posts_per_minute) == ("Metrics", "header", 7)
        assert row.options == {"grouping": "group", "signature_header": "X-Key"}
        assert (row.digest, row.secret) == before
        assert recorded()[-1] == ("ada", "webhook changed")

    def test_a_proof_that_was_turned_on_asks_for_a_secret(self, as_admin: Client) -> None:
        row = made(scheme="none")
        as_admin.post(page_of(row, "webhook-edit"), {"name": "m", "scheme": "bearer", "grouping": "group", **LIMITS})
        assert "A secret is missing, so nothing is taken yet." in text_of(as_admin.get(page_of(row)))

    def test_exchanges_the_secret_and_ends_the_old_one(self, as_admin: Client) -> None:
        row = made()
        old = row.secret
        answer = as_admin.post(page_of(row, "webhook-secret"), {"secret": ""})
        stored = WebhookEndpoint.objects.get()
        assert stored.secret_before == old
        assert str(stored.secret) in unescape(answer.content.decode())
        assert "The secret of before is valid, too." in text_of(answer)
        answer = as_admin.post(page_of(row, "webhook-act", verb="end-old"), follow=True)
        assert "is ended" in text_of(answer)
        assert WebhookEndpoint.objects.get().secrets == [stored.secret]

    def test_exchanges_the_address_and_shows_it_once(self, as_admin: Client) -> None:
        row = made(scheme="none")
        answer = as_admin.post(page_of(row, "webhook-address"))
        [token] = set(re.findall(r"/hooks/([\w-]{43})/", answer.content.decode()))
        assert endpoints.find(token) == row
        assert token not in as_admin.get(page_of(row)).content.decode()
        assert "It was shown once, when it was made." in text_of(as_admin.get(page_of(row)))

    @pytest.mark.parametrize(
        ("scheme", "secret", "said"),
        [
            ("standard", "whsec_not*base64", "Behind whsec_ stands base64"),
            ("standard", "whsec_", "Behind whsec_ stands base64"),
            ("basic", "password", "write it as user:password"),
        ],
    )
    def test_a_secret_that_proves_nothing_is_refused_beside_its_field(
        self, as_admin: Client, scheme: str, secret: str, said: str
    ) -> None:
        row = made(scheme=scheme)
        before = row.secret
        answer = as_admin.post(page_of(row, "webhook-secret"), {"secret": secret})
        assert (answer.status_code, said in text_of(answer)) == (422, True)
        assert WebhookEndpoint.objects.get().secret == before

    def test_there_is_no_secret_to_exchange_where_nothing_is_proved(self, as_admin: Client) -> None:
        answer = as_admin.post(page_of(made(scheme="none"), "webhook-secret"), {"secret": "x"}, follow=True)
        assert "there is no secret" in text_of(answer)
        assert WebhookEndpoint.objects.get().secret is None

    def test_what_only_looks_like_an_id_is_404(self, as_admin: Client) -> None:
        assert as_admin.post(f"/configuration/webhooks/{'-' * 36}/retire/").status_code == 404

    def test_retires_takes_back_and_deletes(self, as_admin: Client) -> None:
        row = made()
        for verb, said in (("retire", "is retired"), ("take-back", "takes what is posted"), ("delete", "is deleted")):
            assert said in text_of(as_admin.post(page_of(row, "webhook-act", verb=verb), follow=True))
        assert not WebhookEndpoint.objects.exists()
        assert [action for _, action in recorded()][1:] == ["webhook retired", "webhook taken back", "webhook deleted"]

    def test_one_that_was_deleted_meanwhile_is_not_found(self, as_admin: Client) -> None:
        row = made()
        pages = [page_of(row, "webhook-act", verb="retire"), page_of(row, "webhook-address")]
        WebhookEndpoint.objects.all().delete()
        assert [as_admin.post(page).status_code for page in pages] == [404, 404]


class TestSnippets:
    def test_alertmanager_is_set_up_in_yaml_with_its_proof(self) -> None:
        told = {"address": "https://x.test/hooks/1/", "secret": 'a:"b"'}
        begin = (
            'receivers:\n  - name: rootmail\n    webhook_configs:\n      - url: "https://x.test/hooks/1/"\n'
            "        send_resolved: true\n        http_config:\n          follow_redirects: false\n"
        )
        found = {proof: webhook_help.snippet("alertmanager", scheme=proof, **told) for proof in PROOFS["alertmanager"]}
        assert found == {
            "none": begin,
            "bearer": begin + '          authorization:\n            credentials: "a:\\"b\\""\n',
            "basic": begin + '          basic_auth:\n            username: "a"\n            password: "\\"b\\""\n',
            "header": begin
            + '          http_headers:\n            "X-Webhook-Secret":\n              secrets: ["a:\\"b\\""]\n',
        }

    @pytest.mark.parametrize(
        ("scheme", "proof"),
        [
            ("none", ""),
            ("bearer", "  -H 'Authorization: Bearer it'\"'\"'s' \\\n"),
            ("basic", "  -u 'it'\"'\"'s' \\\n"),
            ("header", "  -H 'X-Key: it'\"'\"'s' \\\n"),
        ],
    )
    def test_a_command_posts_where_a_command_can_prove_itself(self, scheme: str, proof: str) -> None:
        found = webhook_help.snippet("json", scheme=scheme, address="https://x.test/", secret="it's", header="X-Key")
        assert found == (
            f"curl --fail-with-body 'https://x.test/' \\\n{proof}  -H 'Content-Type: application/json' \\\n"
            "  --data @payload.json\n"
        )

    def test_a_signature_takes_a_program(self) -> None:
        assert webhook_help.snippet("json", scheme="standard", address="https://x.test/", secret="s") == ""
