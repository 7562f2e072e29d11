import io
import logging
import re
import sys
from contextlib import contextmanager

import pytest

from mediacrawl.download.progress import Progress
from mediacrawl.fetch import progress_display
from mediacrawl.fetch.progress_display import Display, Snapshot


class Screen(io.StringIO):
    """A terminal: what a person sees after carriage returns and cursor movements."""

    def __init__(self):
        super().__init__()
        self.cells = [[]]
        self.row = self.column = 0

    def isatty(self):
        return True

    def write(self, text):
        for control, plain in re.findall(r"(\x1b\[A|\x1b\[K|\r|\n)|([^\x1b\r\n]+)", text):
            if control == "\x1b[A":
                self.row = max(0, self.row - 1)
            elif control == "\x1b[K":
                del self.cells[self.row][self.column :]
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.row, self.column = self.row + 1, 0
                self.cells += [[] for _ in range(self.row + 1 - len(self.cells))]
            else:
                line = self.cells[self.row]
                line += " " * (self.column - len(line))
                line[self.column : self.column + len(plain)] = plain
                self.column += len(plain)
        return super().write(text)

    @property
    def lines(self):
        texts = ["".join(line).rstrip() for line in self.cells]
        while texts and not texts[-1]:
            texts.pop()
        return texts


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")
    return Screen()


@contextmanager
def console_log(screen, *others):
    """A log handler on the same terminal as the bars, as Scrapy installs one. No fixture: pytest captures anew."""
    root = logging.getLogger()
    handler = logging.StreamHandler(screen)
    handler.setFormatter(logging.Formatter("LOG %(message)s"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        patch.setattr(root, "handlers", [handler, *others])
        yield handler


def snapshot(at_s=100.0, settled=0, wanted=10, fetched_bytes=0, active=()):
    return Snapshot(at_s, settled, wanted, fetched_bytes, active)


def transfer(name="a.jpg", have=0, total=None, note=""):
    return Progress(name, have_bytes=have, total_bytes=total, note=note)


# On a terminal


def test_a_terminal_shows_the_total_and_each_transfer(screen):
    display = Display(screen, 5.0)
    display.draw(snapshot())
    active = [
        transfer("a.jpg", 500_000, 1_000_000),
        transfer("b.mp4", 7_000),
        transfer("c.png", 1, 2, "again in 3 s"),
    ]
    display.draw(snapshot(102.0, settled=3, fetched_bytes=4_000_000, active=active))
    total, *bars = screen.lines
    assert total.startswith("3/10 files |")
    assert "4.00MB 2.00MB/s" in total
    assert len(bars) == 3
    assert bars[0].startswith("  a.jpg |")
    assert bars[0].endswith("| 500k/1.00M")
    assert bars[1].endswith("| 7.00k/?")
    assert bars[2].endswith("| 1.00/2.00, again in 3 s")
    display.close(snapshot())


def test_a_bar_goes_when_its_transfer_ends(screen):
    display = Display(screen, 5.0)
    display.draw(snapshot(active=[transfer("a.jpg"), transfer("b.jpg")]))
    display.draw(snapshot(active=[transfer("b.jpg")]))
    assert len(screen.lines) == 2
    assert "b.jpg" in screen.lines[1]
    display.draw(snapshot())
    assert len(screen.lines) == 1
    display.close(snapshot())


def test_closing_takes_the_bars_away_and_leaves_the_total_where_it_ended(screen):
    display = Display(screen, 5.0)
    display.draw(snapshot(active=[transfer()]))
    display.close(snapshot(settled=10, fetched_bytes=5_000, active=[transfer()]))
    screen.write("summary\n")
    total, summary = screen.lines
    assert total.startswith("10/10 files |")
    assert "5.00kB" in total
    assert summary == "summary"


@pytest.mark.parametrize(("rows", "shown"), [(24, 16), (10, 7), (3, 1)])
def test_there_are_no_more_bars_than_the_terminal_has_room_for(screen, monkeypatch, rows, shown):
    monkeypatch.setenv("LINES", str(rows))
    display = Display(screen, 5.0)
    display.draw(snapshot(active=[transfer(f"{n}.jpg") for n in range(40)]))
    assert len(screen.lines) == 1 + shown
    display.close(snapshot())


def test_a_long_name_is_cut_in_its_middle(screen):
    display = Display(screen, 5.0)
    display.draw(snapshot(active=[transfer("a-very-long-name-that-nobody-can-read.jpeg")]))
    assert screen.lines[1].startswith("  a-very-long-nam…ead.jpeg |")
    display.close(snapshot())


def test_a_run_that_wants_nothing_yet_is_no_error(screen):
    display = Display(screen, 5.0)
    display.draw(snapshot(wanted=0))
    assert screen.lines[0].startswith("0/1 files")
    display.close(snapshot(wanted=0))


def test_closing_what_was_never_drawn_writes_nothing(screen):
    Display(screen, 5.0).close(snapshot())
    assert screen.getvalue() == ""


def test_closing_twice_is_closing_once(screen):
    display = Display(screen, 5.0)
    display.draw(snapshot())
    display.close(snapshot())
    before = screen.getvalue()
    display.close(snapshot())
    assert screen.getvalue() == before


# Log lines


def test_log_lines_stand_whole_above_the_bars(screen):
    said = [f"LOG line {step}" for step in range(5)]
    with console_log(screen):
        display = Display(screen, 5.0)
        for step in range(5):
            active = [transfer("a.jpg", step, 9), transfer("b.jpg")]
            display.draw(snapshot(100.0 + step, settled=step, active=active))
            logging.getLogger("any").warning("line %d", step)
        display.draw(snapshot(105.0, settled=5, active=active))
        assert screen.lines[:5] == said
        assert [line.split(" |")[0] for line in screen.lines[5:]] == ["5/10 files", "  a.jpg", "  b.jpg"]
        display.close(snapshot(106.0, settled=6))
        logging.getLogger("any").warning("after")
    assert screen.lines[:5] == said
    assert screen.lines[5].startswith("6/10 files |")
    assert screen.lines[6:] == ["LOG after"]


def test_the_handlers_have_their_streams_back_at_the_end(screen, tmp_path):
    to_file = logging.FileHandler(tmp_path / "log", delay=True)
    elsewhere = logging.StreamHandler(other := io.StringIO())
    with console_log(screen, to_file, elsewhere) as console:
        display = Display(screen, 5.0)
        display.draw(snapshot())
        assert console.stream is not screen
        assert console.stream.isatty(), "whoever asks the stream about itself gets the terminal's answer"
        assert elsewhere.stream is other
        assert to_file.stream is None
        display.close(snapshot())
        assert console.stream is screen
        assert elsewhere.stream is other
    to_file.close()


def test_handlers_are_left_alone_where_there_are_no_bars(screen, monkeypatch):
    monkeypatch.setattr(screen, "isatty", lambda: False)
    with console_log(screen) as console:
        display = Display(screen, 5.0)
        display.draw(snapshot())
        assert console.stream is screen
        display.close(snapshot())


# Elsewhere


def test_a_file_gets_a_line_now_and_then():
    stream = io.StringIO()
    display = Display(stream, 5.0)
    for second in range(12):
        display.draw(snapshot(100.0 + second, settled=second, fetched_bytes=second * 1_000_000))
    assert stream.getvalue() == "5/10 files, 5.00MB, 1.00MB/s\n10/10 files, 10.0MB, 1.00MB/s\n"
    display.close(snapshot(120.0))
    assert stream.getvalue().count("\n") == 2


def test_a_line_names_a_few_of_the_transfers():
    stream = io.StringIO()
    display = Display(stream, 1.0)
    active = [transfer("a.jpg", 500, 1000), transfer("b.mp4", 7_000), *(transfer(f"{n}") for n in range(5))]
    display.draw(snapshot(1.0))
    display.draw(snapshot(2.0, active=active))
    assert stream.getvalue() == "0/10 files, 0B, 0B/s: a.jpg 500B/1.00kB, b.mp4 7.00kB, 0 0B and 4 more\n"


def test_no_lines_are_written_where_none_are_wanted():
    stream = io.StringIO()
    display = Display(stream, 0.0)
    for second in range(100):
        display.draw(snapshot(100.0 + second))
    display.close(snapshot(300.0))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("terminal", "line_every_s", "every_s"),
    [(True, 5.0, 0.2), (False, 5.0, 1.0), (False, 0.5, 0.5), (False, 0.0, 1.0)],
)
def test_a_display_says_how_often_to_draw(screen, terminal, line_every_s, every_s):
    assert Display(screen if terminal else io.StringIO(), line_every_s).every_s == every_s


def test_the_speed_is_of_the_last_seconds_and_its_memory_is_bounded():
    display = Display(io.StringIO(), 1.0)
    speeds = [display._speed(snapshot(float(second), fetched_bytes=min(second, 50) * 1000)) for second in range(100)]
    assert speeds[0] == 0.0
    assert speeds[1:51] == [1000.0] * 50
    assert 0 < speeds[52] < 1000
    assert speeds[60:] == [0.0] * 40
    assert len(display._history) < 10


def test_a_name_that_a_server_has_made_up_does_not_steer_the_terminal():
    shown = progress_display._fitted("\x1b]0;x\x07\n\u202egpj.mp4")
    assert shown == r"\x1b]0;x\x07\n\…egpj.mp4"
    assert progress_display._fitted("Ünïcödé – 日本.jpg") == "Ünïcödé – 日本.jpg"
