"""No page has its entities expanded beyond the five of XML, and none is fetched from anywhere."""

import socketserver
import threading

import pytest

from mediacrawl.extract.links import Page
from mediacrawl.extract.media import find_media
from mediacrawl.extract.pagination import find_next

URL = "http://h.example/a/b"
MANY = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a0 "ha">{MANY}]>'


@pytest.fixture
def listener():
    """A port, and how often something has connected to it."""
    connections = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            connections.append(self.client_address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1], connections
        server.shutdown()


@pytest.mark.parametrize("is_xml", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        "<r>&a9;</r>",
        "<rss><channel><item><enclosure url='/&a9;.mp3' type='audio/mpeg'/></item></channel></rss>",
        "<svg xmlns='http://www.w3.org/2000/svg'><image href='/&a9;.png'/>&a9;</svg>",
        "<html xmlns='http://www.w3.org/1999/xhtml'><body><a href='?p=2' rel='next'>&a9;</a></body></html>",
    ],
    ids=["text", "feed", "SVG", "XHTML"],
)
def test_entities_of_entities_do_not_multiply(body, is_xml):
    page = Page.from_text(LAUGHS + body, URL, is_xml=is_xml)
    assert len("".join(page.root.itertext())) < 10_000
    assert all(len(media.url) < 1_000 for media in find_media(page))
    find_next(page)


@pytest.mark.parametrize("is_xml", [True, False])
@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE r [<!ENTITY a SYSTEM "{there}">]>',
        '<!DOCTYPE r SYSTEM "{there}">',
        '<!DOCTYPE r PUBLIC "-//W3C//DTD XHTML 1.0//EN" "{there}">',
        '<!DOCTYPE r [<!ENTITY % a SYSTEM "{there}"> %a;]>',
        '<?xml-stylesheet href="{there}"?>',
        '<r xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{there}"/></r>',
    ],
)
def test_nothing_is_read_from_files_or_from_the_network(declaration, is_xml, listener, tmp_path):
    (tmp_path / "secret").write_text("the secret")
    port, connections = listener
    for there in (f"http://127.0.0.1:{port}/x", f"file://{tmp_path}/secret", f"{tmp_path}/secret"):
        text = f"<?xml version='1.0'?>{declaration.format(there=there)}<r>&a;<img src='/&a;.png'/></r>"
        page = Page.from_text(text, URL, is_xml=is_xml)
        assert "secret" not in "".join(page.root.itertext())
        assert not any("the%20secret" in media.url for media in find_media(page))
    assert connections == []
