"""A little site at http://archive.test, which a store in `tests/data` was made from."""

from __future__ import annotations

from urllib.parse import quote, unquote

from origin import Answer

HOST = "http://archive.test"
BIG = bytes(range(256)) * 8192  # 2 MiB
BIG_STOPS_AT = 1024 * 1024
PICTURES = {f"/{number}.jpg": b"picture %d " % number * 100 for number in range(4)} | {"/late.jpg": b"late " * 50}


def serve(origin) -> None:
    """Serve it: pictures, one of them gone, on the first page, a film on the second, a last picture on the third."""
    images = "".join(f'<img src="/{number}.jpg">' for number in range(4))
    origin.page("/1", f'{images}<img src="/gone.jpg"><a rel="next" href="/2">Next</a>')
    origin.page("/2", '<video src="/film.mp4"></video><a rel="next" href="/3">Next</a>')
    origin.page("/3", '<img src="/late.jpg">')
    for path, body in PICTURES.items():
        origin.add(path, body, content_type="image/jpeg")
    origin.add("/film.mp4", BIG, content_type="video/mp4")


URLS_HOST = "http://urls.test"
# Written in a list of the earlier version, which gave a key to each, and the same key to its twin.
TWINS = {
    "/m.png?b=2&a=1": "/m.png?a=1&b=2",
    "/p.png?x": "/p.png?x=",
    "/t/%7Eu.png": "/t/~u.png",
    "/g/%e4.png": "/g/%E4.png",
    "/q.png?q=a%20b": "/q.png?q=a+b",
    "/i.png?b[]=1|'2'&a=1": "/i.png?a=1&b[]=1|'2'",
    "/d/../e.png?y=&x": "/e.png?x&y=",
    "/h.png?b&a#1": "/h.png?a&b#1",
    "/café.png?b=é&a=1": "/caf%C3%A9.png?a=1&b=é",
}
FILM = "/film.mp4?sig=b%7E&exp=1"


def serve_urls(origin) -> None:
    """Serve a site on which each target is a picture of its own, and a film."""

    def picture(request):
        return Answer(body=b"\x89PNG\r\n\x1a\n" + request.target.encode(), headers=[("Content-Type", "image/png")])

    for written in TWINS:
        path = unquote(written.partition("?")[0])
        for name in {path.replace("/d/../", "/"), quote(path), written.partition("?")[0]}:
            origin.on(name, picture)
    origin.add("/film.mp4", BIG, content_type="video/mp4")
