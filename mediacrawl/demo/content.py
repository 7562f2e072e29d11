"""The content of the demo site: three pages, and their media files."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from mediacrawl.demo import media


@dataclass(frozen=True, slots=True)
class File:
    """One media file. `wanted`: a complete crawl fetches the file; False for the smaller of several sizes."""

    body: bytes
    content_type: str
    disposition: str | None = None
    wanted: bool = True


SLOW = "/video/plasma.avi"  # throttled, so that a progress bar is visible
BREAKS = "/pictures/dawn-1280.png"  # the connection of its first response breaks in the middle

FIRST_PAGE = "/"
GIF_OF_ONE_PIXEL = (
    "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"  # before the page's script runs
)

_GALLERY = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>mediacrawl demo - pictures</title>
<link rel="next" href="/page/2">
</head>
<body>
<h1>Pictures - “plasma” &amp; friends</h1>
<p>Everything here was made a moment ago, in the very process that reads it.</p>
<p><img src="/pictures/sea.png" alt="Sea" width="320" height="240"></p>
<p><img src="/pictures/dawn-320.png" alt="Dawn, in three sizes"
  srcset="/pictures/dawn-320.png 320w, /pictures/dawn-640.png 640w, {BREAKS} 1280w"></p>
<p><img class="lazy" src="{GIF_OF_ONE_PIXEL}" data-src="/pictures/lazy.png" alt="Loaded late"></p>
<p><picture>
  <source type="image/png" srcset="/pictures/dusk-400.png 1x, /pictures/dusk-800.png 2x">
  <img src="/pictures/dusk-400.png" alt="Dusk">
</picture></p>
<p><img src="/pictures/rings.svg" alt="Rings"> <img src="/pictures/turning.gif" alt="Turning"></p>
<h2>Two covers, one name</h2>
<p><img src="/2023/cover.png" alt="2023"> <img src="/2024/cover.png" alt="2024"></p>
<p><a href="/page/2">Next page</a></p>
</body>
</html>
"""

_CHINESE = """<!DOCTYPE html>
<html lang="zh">
<head>
<meta charset="gbk">
<title>mediacrawl 演示——图片</title>
</head>
<body>
<h1>山与水的图片</h1>
<p>这一页用 GBK 编码。文件名由服务器给出。</p>
<p><img src="/files/1001" alt="山"></p>
<p><img src="/files/1002" alt="水"></p>
<p><img src="/图片/月.gif" alt="月"></p>
<p><a href="/">上一页</a> <a href="/page/3">下一页</a></p>
</body>
</html>
"""

_SOUND_AND_VIDEO = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>mediacrawl demo - sound and video</title>
<link rel="prev" href="/page/2">
</head>
<body>
<h1>Sound and video</h1>
<p><audio controls src="/sounds/scale.wav"></audio></p>
<p><audio controls><source src="/sounds/brother-john.wav" type="audio/wav"></audio></p>
<p><video controls width="160" height="120" src="{SLOW}" poster="/pictures/poster.png"></video></p>
<p><video controls width="80" height="60"><source src="/video/small.avi" type="video/x-msvideo"></video></p>
<ul>
  <li><a href="/sounds/bell.wav">A bell (WAV)</a></li>
  <li><a href="/sounds/download?name=arpeggio.wav" download>An arpeggio, named by the server</a></li>
</ul>
<p><a href="/page/2" rel="prev">Previous page</a></p>
</body>
</html>
"""


def pages() -> dict[str, tuple[bytes, str]]:
    """Return path -> (body, content type), in the order in which each page links to the next."""
    return {
        FIRST_PAGE: (_GALLERY.encode(), "text/html; charset=utf-8"),
        "/page/2": (_CHINESE.encode("gbk"), "text/html; charset=gbk"),
        "/page/3": (_SOUND_AND_VIDEO.encode(), "text/html; charset=utf-8"),
    }


@functools.cache
def files() -> dict[str, File]:
    """Return path -> file. A path is percent-decoded and includes its query, if any."""
    return {**_pictures(), **_named_by_the_server(), **_sounds(), **_videos()}


def _pictures() -> dict[str, File]:
    def picture(width: int, height: int, hue: float, phase: float, *, wanted: bool = True) -> File:
        return File(media.png(width, height, hue=hue, phase=phase), "image/png", wanted=wanted)

    return {
        "/pictures/sea.png": picture(320, 240, 0.55, 0.0),
        "/pictures/dawn-320.png": picture(320, 180, 0.05, 1.0, wanted=False),
        "/pictures/dawn-640.png": picture(640, 360, 0.05, 1.0, wanted=False),
        BREAKS: picture(1280, 720, 0.05, 1.0),
        "/pictures/lazy.png": picture(480, 320, 0.35, 2.0),
        "/pictures/dusk-400.png": picture(400, 300, 0.8, 3.0, wanted=False),
        "/pictures/dusk-800.png": picture(800, 600, 0.8, 3.0),
        "/pictures/rings.svg": File(media.svg(240, 240), "image/svg+xml"),
        "/pictures/turning.gif": File(media.gif(96, 96, 10, hue=0.2), "image/gif"),
        "/2023/cover.png": picture(200, 200, 0.1, 4.0),
        "/2024/cover.png": picture(200, 200, 0.6, 5.0),
        "/pictures/poster.png": picture(160, 120, 0.7, 0.0),
    }


def _named_by_the_server() -> dict[str, File]:
    # RFC 6266, 4.3: filename* carries non-ASCII characters; filename is for clients that do not support it.
    mountain = "attachment; filename=\"1001.png\"; filename*=UTF-8''%E5%B1%B1%20%E2%80%93%20%E6%97%A5%E5%87%BA.png"
    water = "inline; filename=\"1002.png\"; filename*=UTF-8''%E6%B0%B4.png"
    return {
        "/files/1001": File(media.png(360, 240, hue=0.3, phase=6.0), "image/png", mountain),
        "/files/1002": File(media.png(360, 240, hue=0.5, phase=7.0), "image/png", water),
        "/图片/月.gif": File(media.gif(64, 64, 8, hue=0.15), "image/gif"),
    }


def _sounds() -> dict[str, File]:
    def sound(melody: str, note_s: float, disposition: str | None = None) -> File:
        return File(media.wav(melody, note_s), "audio/wav", disposition)

    return {
        "/sounds/scale.wav": sound("acefhjlm", 0.3),
        "/sounds/brother-john.wav": sound("acea acea efh efh ", 0.2),
        "/sounds/bell.wav": sound("t", 1.5),
        "/sounds/download?name=arpeggio.wav": sound("aehmhea", 0.2, 'attachment; filename="arpeggio.wav"'),
    }


def _videos() -> dict[str, File]:
    return {
        SLOW: File(media.avi(160, 120, 20, hue=0.7), "video/x-msvideo"),
        "/video/small.avi": File(media.avi(80, 60, 10, hue=0.4), "video/x-msvideo"),
    }
