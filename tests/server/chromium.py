"""Headless Chromium for tests, driven over a pipe by its DevTools protocol; a video that it can play.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
import threading

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 60
_ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --mute-audio "
    "--disable-background-networking --autoplay-policy=no-user-gesture-required --remote-debugging-pipe"
)


class Chromium:
    """A browser with one tab."""

    def __init__(self, profile):
        commands, self._commands = os.pipe()
        self._messages, messages = os.pipe()
        script = f'exec "{PATH}" {_ARGUMENTS} --user-data-dir="{profile}" about:blank 3<&{commands} 4>&{messages}'
        self.process = subprocess.Popen(
            ["bash", "-c", script],
            pass_fds=(commands, messages),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(messages)
        self._changed = threading.Condition()
        self._answers, self._number, self.events = {}, 0, []
        self._is_over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._commands)  # it ends without its pipe
        try:
            self.process.wait(LIMIT_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._reader.join(LIMIT_S)
            os.close(self._messages)

    def _read(self):
        rest = b""
        while data := os.read(self._messages, 1 << 20):
            *messages, rest = (rest + data).split(b"\0")
            with self._changed:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def call(self, method, **parameters):
        """Send a command; return its result."""
        with self._changed:
            self._number += 1
            number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._commands, rest) :]
        self._wait(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _wait(self, condition):
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._is_over, LIMIT_S)
            assert condition(), self.events[-5:]

    def _loads(self):
        return sum(event["method"] == "Page.loadEventFired" for event in self.events)

    def loading(self, action):
        """Do something that leads to another page; return when the page is there."""
        before = self._loads()
        action()
        self._wait(lambda: self._loads() > before)

    def open(self, url):
        self.loading(lambda: self.call("Page.navigate", url=url))

    def run(self, script):
        """Evaluate an expression, or the value of a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def type(self, selector, text):
        self.run(f"(field => {{ field.focus(); field.select() }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def press_enter(self):
        def press():
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            self.call("Input.dispatchKeyEvent", type="keyDown", **key)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

        self.loading(press)

    def click(self, selector):
        """Click in the middle of an element that leads to another page."""
        where = self.run(
            f"""(() => {{
            const one = document.querySelector({json.dumps(selector)})
            one.scrollIntoView({{block: "center"}})
            const box = one.getBoundingClientRect()
            return [box.x + box.width / 2, box.y + box.height / 2]
            }})()"""
        )
        mouse = {"x": where[0], "y": where[1], "button": "left", "clickCount": 1}

        def click():
            self.call("Input.dispatchMouseEvent", type="mousePressed", **mouse)
            self.call("Input.dispatchMouseEvent", type="mouseReleased", **mouse)

        self.loading(click)

    def press(self, selector):
        """Click on an element that leads to no other page."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def until(self, condition):
        """Wait until an expression is true in the page; return its value."""
        return self.run(
            "new Promise(done => { const look = () => { const found = "
            f"({condition}); if (found) done(found); else setTimeout(look, 50) }}; look() }})"
        )

    def choose(self, selector, *paths):
        """Choose files, or a folder, in an input."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        chosen = [str(path) for path in paths]
        self.call("DOM.setFileInputFiles", files=chosen, objectId=found["result"]["objectId"])

    def drop(self, *paths):
        """Drag files and folders from outside over the page, and drop them."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=100, y=100, data=data)

    @property
    def text(self):
        return self.run("document.body.innerText")

    @property
    def path(self):
        return self.run("location.pathname")

    def cookie(self):
        """The field `Cookie` that the page would send."""
        cookies = self.call("Network.getCookies")["cookies"]
        return "; ".join(f"{one['name']}={one['value']}" for one in cookies)

    def complaints(self):
        """What the browser has refused to do: mostly what the content security policy forbids."""
        entries = [event["params"]["entry"] for event in self.events if event["method"] == "Log.entryAdded"]
        return [entry["text"] for entry in entries if entry["source"] in {"security", "javascript", "violation"}]

    def screenshot(self, path, width, height, *, dark=False, scale=1, whole=False):
        is_phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=is_phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def webp(self, width, height):
        """A lossy picture of noise, which is one key frame of VP8."""
        data = self.run(
            f"""(() => {{
            const canvas = document.createElement("canvas"); canvas.width = {width}; canvas.height = {height}
            const context = canvas.getContext("2d"), image = context.createImageData({width}, {height})
            for (let at = 0; at < image.data.length; at++) image.data[at] = at % 4 == 3 ? 255 : Math.random() * 256
            context.putImageData(image, 0, 0)
            return canvas.toDataURL("image/webp", 0.9)
            }})()"""
        )
        return base64.b64decode(data.partition(",")[2])


def webm_of(webp, width, height, *, seconds, frames_each_second=10):
    """Return a video (WebM) that shows one picture, with a key frame at each of its frames and an index.

    https://www.matroska.org/technical/elements.html
    """
    at = webp.index(b"VP8 ")
    (size,) = struct.unpack("<I", webp[at + 4 : at + 8])
    frame = webp[at + 8 : at + 8 + size]
    step = 1000 // frames_each_second
    clusters = [
        _element(
            0x1F43B675,
            _number(0xE7, second * 1000),
            *(
                _element(0xA3, b"\x81" + struct.pack(">h", offset) + b"\x80", frame)
                for offset in range(0, 1000, step)
            ),
        )
        for second in range(seconds)
    ]
    info = _element(
        0x1549A966, _number(0x2AD7B1, 1_000_000), _element(0x4489, struct.pack(">d", seconds * 1000.0)),
        _element(0x4D80, b"test"), _element(0x5741, b"test"),
    )  # fmt: skip
    picture = _element(0xE0, _number(0xB0, width), _number(0xBA, height))
    track = _element(
        0xAE, _number(0xD7, 1), _number(0x73C5, 1), _number(0x83, 1), _element(0x86, b"V_VP8"), picture
    )  # fmt: skip
    head = info + _element(0x1654AE6B, track)
    start = len(head) + len(_cues(clusters, 0))
    segment = head + _cues(clusters, start) + b"".join(clusters)
    header = _element(
        0x1A45DFA3, _number(0x4286, 1), _number(0x42F7, 1), _number(0x42F2, 4), _number(0x42F3, 8),
        _element(0x4282, b"webm"), _number(0x4287, 2), _number(0x4285, 2),
    )  # fmt: skip
    return header + _element(0x18538067, segment)


def _cues(clusters, start):
    points = []
    for second, cluster in enumerate(clusters):
        position = _element(0xB7, _number(0xF7, 1), _number(0xF1, start))
        points.append(_element(0xBB, _number(0xB3, second * 1000), position))
        start += len(cluster)
    return _element(0x1C53BB6B, *points)


def _number(identifier, value):
    return _element(identifier, value.to_bytes(8, "big"))


def _element(identifier, *content):
    data = b"".join(content)
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + (len(data) | 1 << 56).to_bytes(8, "big") + data
