"""A little site at http://archive.test, which a store in `tests/data` was made from."""

from __future__ import annotations

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
