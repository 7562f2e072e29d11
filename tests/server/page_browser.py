"""A browser for the tests of pages: it asks an application of WSGI, keeps cookies, and looks at what it is sent."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from io import BytesIO
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlencode, urljoin, urlsplit

from mediacrawl.visible import visible

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
FORBIDDEN = {"script", "style", "base", "iframe", "object", "embed"}
_LOADING = ("href", "src", "action", "formaction", "poster", "data", "srcset", "xlink:href", "ping", "background")


class Form(NamedTuple):
    method: str
    action: str
    fields: dict[str, str]


class Parsed(HTMLParser):
    """The links, forms, texts and elements of a page, and all that a content security policy is to forbid."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.links, self.forms, self.texts, self.elements, self.inline = [], [], [], set(), []
        self.scripts, self._is_within_script = [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.elements.add(tag)
        self._is_within_script = tag == "script"
        self.inline += [name for name in facts if name.startswith("on") or name == "style"]
        is_script = tag == "script" and facts.get("src") and facts.get("nonce")
        self.inline += [tag] * ((tag in FORBIDDEN and not is_script) or "http-equiv" in facts)
        self.scripts += [(facts["src"], facts["nonce"])] if is_script else []
        self.links += [facts[name] for name in _LOADING if facts.get(name) and name != "action"]
        if tag == "form":
            self.forms.append(Form(facts.get("method", "get"), facts.get("action", ""), {}))
        elif tag == "input" and self.forms and facts.get("name"):
            is_sent = facts.get("type") != "checkbox" or "checked" in facts
            if is_sent:
                self.forms[-1].fields[facts["name"]] = facts.get("value") or ""

    def handle_endtag(self, tag):
        self._is_within_script &= tag != "script"

    def handle_data(self, data):
        self.texts.append(data)
        self.inline += ["script"] * self._is_within_script


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name):
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[-1] if found else None

    @property
    def text(self):
        return self.body.decode()

    @property
    def is_page(self):
        return (self.header("Content-Type") or "").startswith("text/html")

    def parsed(self):
        return Parsed(self.text)


class Browser:
    """Asks an application. Each answer is checked for what no answer may have."""

    def __init__(self, application, address="127.0.0.1"):
        self.application, self.address = application, address
        self.cookies = {}

    def ask(self, target, *, method="GET", fields=None, headers=()):
        """Ask for a path and query, percent-encoded; with fields, as a form sends them."""
        raw, _, query = target.partition("?")
        body = b"" if fields is None else urlencode(fields).encode()
        environ = {
            "REQUEST_METHOD": method if fields is None else "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
            "QUERY_STRING": query.partition("#")[0],
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self.address,
            "HTTP_HOST": "localhost",
            "HTTP_ACCEPT": "text/html,*/*;q=0.8",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/x-www-form-urlencoded" if fields is not None else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if self.cookies:
            environ["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        for name, value in dict(headers).items():
            environ[name if name == "CONTENT_LENGTH" else f"HTTP_{name.upper().replace('-', '_')}"] = value
        told = []
        content = self.application(environ, lambda status, fields, *_: told.append((status, fields)))
        try:
            answer = Answer(int(told[-1][0][:3]), told[-1][1], b"".join(content))
        finally:
            getattr(content, "close", lambda: None)()
        self._keep_cookies(answer)
        check(answer)
        return answer

    def post(self, target, **fields):
        """Send a form of this server, with its token."""
        if not any("csrf" in name for name in self.cookies):
            self.ask("/login")
        return self.ask(target, fields=fields | {"csrfmiddlewaretoken": self.token})

    @property
    def token(self):
        return next(value for name, value in self.cookies.items() if "csrf" in name)

    def log_in(self, name, password, following=""):
        return self.post("/login", name=name, password=password, next=following)

    def walk(self, start="/"):
        """Follow all links, and forms that change nothing; return each answer by its URL."""
        found, pending = {}, [start]
        while pending:
            target = pending.pop()
            if target in found:
                continue
            answer = found[target] = self.ask(target)
            pending += [urljoin(target, link) for link in links_of(answer)]
        return found

    def _keep_cookies(self, answer):
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                for morsel in SimpleCookie(value).values():
                    if morsel["max-age"] in {"0", 0} or not morsel.value:
                        self.cookies.pop(morsel.key, None)
                    else:
                        self.cookies[morsel.key] = morsel.value


def links_of(answer):
    if answer.header("Location"):
        return [answer.header("Location")]
    if not answer.is_page:
        return []
    parsed = answer.parsed()
    forms = [f"{form.action}?{urlencode(form.fields)}" for form in parsed.forms if form.method == "get"]
    return [link.partition("#")[0] for link in [*parsed.links, *forms]]


def check(answer):
    """Fail for headers and pages that let a stranger act."""
    for name, value in answer.headers:
        assert not _CONTROL.search(name + value), (name, value)
    location = answer.header("Location")
    assert location is None or (location.startswith("/") and location[1:2] not in {"/", "\\"}), location
    if not answer.is_page:
        return
    policy = answer.header("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "no-store" in answer.header("Cache-Control")
    parsed = answer.parsed()
    assert parsed.inline == []
    nonces = {f"'nonce-{nonce}'" for _, nonce in parsed.scripts}
    assert set(re.findall("script-src ([^;]*)", policy)) == nonces
    assert ("connect-src" in policy) == bool(nonces)
    assert all(re.search(r"^(/media)?/static/\w[\w.]+\?v=\w+$", source) for source, _ in parsed.scripts)
    for link in [*parsed.links, *(form.action for form in parsed.forms)]:
        assert not urlsplit(link).scheme, link
        assert not link.startswith(("//", "/\\")), link
    for line in answer.text.split("\n"):
        assert visible(line) == line, line
