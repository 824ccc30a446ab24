"""Enough of a browser to fill in a real form: cookies, the fields as the page offers them, a post."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from types import TracebackType

import httpx

Attributes = list[tuple[str, str | None]]


class PageError(Exception):
    """A page did not do what a person would have expected of it."""


class FormReader(HTMLParser):
    """Collects the fields of the form that posts to `action`, with the values they show."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.action = action
        self.fields: dict[str, str] = {}
        self._inside = False
        self._select = ""
        self._textarea = ""

    def handle_starttag(self, tag: str, attributes: Attributes) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._inside = values.get("action", self.action) == self.action and values.get("method") == "post"
        elif self._inside:
            self._read(tag, values, dict(attributes))

    def _read(self, tag: str, values: dict[str, str], given: dict[str, str | None]) -> None:
        if tag == "input" and (values.get("type") != "checkbox" or "checked" in given):
            self.fields[values.get("name", "")] = values.get("value", "on" if values.get("type") == "checkbox" else "")
        elif tag == "select":
            self._select = values["name"]
        elif tag == "option" and self._select and ("selected" in given or self._select not in self.fields):
            self.fields[self._select] = values.get("value", "")
        elif tag == "textarea":
            self._textarea = values["name"]
            self.fields[self._textarea] = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""


class Browser:
    """A person's session with the site."""

    def __init__(self, site: str) -> None:
        self._client = httpx.Client(base_url=site, timeout=60, trust_env=False)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def submit(self, page: str, values: Mapping[str, str | None]) -> httpx.Response:
        """Open a page and post its form with some fields filled in; None takes a field out (an unticked box).

        Raises PageError where the page has no such form, or answers with anything but a redirect.
        """
        shown = self._client.get(page)
        reader = FormReader(page)
        reader.feed(shown.text)
        if not reader.fields:
            raise PageError(f"{page} (status {shown.status_code}) shows no form to fill in.")
        fields = {name: value for name, value in (reader.fields | dict(values)).items() if name and value is not None}
        answer = self._client.post(page, data=fields, headers={"Referer": str(shown.url)})
        if not answer.is_redirect:
            raise PageError(f"{page} answered {answer.status_code}:\n{_errors(answer.text)}")
        return answer


class _ErrorReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attributes: Attributes) -> None:
        classes = (dict(attributes).get("class") or "").split()
        if {"error", "alert-danger"} & set(classes) or self._depth:
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        self._depth = max(self._depth - 1, 0)

    def handle_data(self, data: str) -> None:
        if self._depth and data.strip():
            self.lines.append(data.strip())


def _errors(html: str) -> str:
    reader = _ErrorReader()
    reader.feed(html)
    return "\n".join(reader.lines) or "(the page names no error)"
