"""What surrounds every page: side bar, theme, error pages; nothing inline, and little to load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.views.defaults import bad_request, server_error

from rootmail import frame
from tests.test_integration_pages import CATALOGUE, PAGES, SMTP

INLINE = r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:"
LIMIT = 150_000


@pytest.fixture
def collected(settings: Any, tmp_path: Path) -> Path:
    """The static files as an installation serves them: hashed and compressed."""
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    call_command("collectstatic", verbosity=0, interactive=False)
    return tmp_path


def body(answer: Any) -> str:
    return answer.content.decode()


def links(client: Client) -> list[str]:
    menu = re.search(r"<nav.*?</nav>", body(client.get("/")), re.S)
    assert menu
    return re.findall(r'nav-link-title">([^<]+)<', menu[0])


def test_an_admin_sees_the_configuration_and_a_member_does_not(as_admin: Client, member: Any) -> None:
    assert links(as_admin)[:5] == ["Workflows", "Events", "Runs", "Deliveries", "Suppressed"]
    as_admin.force_login(member)
    assert links(as_admin) == ["Workflows", "Events", "Runs", "Deliveries"]


def test_a_page_that_is_not_there_yet_has_no_link(as_admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    later = frame.Entry("Later", "no-such-name", icon="clock")
    monkeypatch.setattr(frame, "MENU", {"": [*frame.MENU[""], later]})
    assert links(as_admin) == ["Workflows", "Events", "Runs", "Deliveries", "Suppressed"]


def test_the_link_of_the_page_and_of_what_is_below_it_is_marked(as_admin: Client) -> None:
    marked = r'<a href="([^"]+)" class="nav-link" aria-current="page"'
    assert [re.findall(marked, body(as_admin.get(page))) for page in ("/", SMTP)] == [["/"], [CATALOGUE]]


def test_a_stranger_sees_no_menu(client: Client, db: None) -> None:
    assert "<nav" not in body(client.get("/login/"))


@pytest.mark.parametrize(("theme", "drawn"), [("auto", "light"), ("light", "light"), ("dark", "dark")])
@pytest.mark.usefixtures("admin")
def test_the_chosen_theme_stays(client: Client, db: None, theme: str, drawn: str) -> None:
    answer = client.post("/theme/", {"theme": theme, "next": "/login/?next=/"})
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/")
    cookie = answer.cookies["theme"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert f'data-chosen-theme="{theme}" data-bs-theme="{drawn}"' in body(client.get("/login/"))


@pytest.mark.parametrize("back", ["https://evil.test/", "//evil.test/", "javascript:alert(1)", ""])
@pytest.mark.usefixtures("admin")
def test_the_theme_leads_nobody_astray(client: Client, db: None, back: str) -> None:
    answer = client.post("/theme/", {"theme": "neon", "next": back})
    assert (answer["Location"], answer.cookies) == ("/", {})
    client.cookies["theme"] = '"><script>'
    assert 'data-chosen-theme="auto"' in body(client.get("/login/"))


def test_the_theme_is_changed_by_post_alone(client: Client) -> None:
    assert client.get("/theme/").status_code == 405


def test_no_page_has_anything_inline(as_admin: Client, member: Any) -> None:
    answers = [as_admin.get(page) for page in ("/", *PAGES, "/no-such-page/")]
    answers.append(as_admin.post(SMTP, {"port": "0"}))
    as_admin.force_login(member)
    answers += [as_admin.get(CATALOGUE), Client(enforce_csrf_checks=True).post("/login/"), Client().get("/login/")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 422, 403, 403, 200]
    assert [re.findall(INLINE, body(answer)) for answer in answers] == [[]] * 9


def test_the_pages_for_when_nothing_works_need_nothing(rf: RequestFactory, settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    answers = [server_error(rf.get("/")), bad_request(rf.get("/"), exception=ValueError())]
    assert [answer.status_code for answer in answers] == [500, 400]
    for answer in answers:
        assert '<link rel="stylesheet" href="/static/rootmail.css">' in body(answer)
        assert re.findall(INLINE, body(answer)) == []


def test_the_first_visit_is_light(as_admin: Client, collected: Path) -> None:
    for page in ("/", *PAGES):
        html = body(as_admin.get(page))
        files = set(re.findall(r'(?:href|src)="/static/([^"#]+)', html))
        assert {"tabler", "htmx", "icons", "theme", "rootmail"} <= {Path(name).name.split(".")[0] for name in files}
        assert len(html) + sum(_served(collected / name) for name in files) < LIMIT


def _served(path: Path) -> int:
    packed = path.with_name(f"{path.name}.gz")
    return (packed if packed.exists() else path).stat().st_size


def test_no_comment_of_a_template_is_shown() -> None:
    """Django's short comments end with their line: what goes on in the next one is text of the page."""
    texts = {path: path.read_text() for path in (settings.BASE_DIR / "templates").rglob("*.html")}
    open_ones = [
        path.name for path, text in texts.items() for line in text.split("\n") if line.count("{#") != line.count("#}")
    ]
    assert open_ones == []
