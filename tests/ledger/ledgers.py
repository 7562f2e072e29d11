"""What the tests of ledgers share: rows, and the calls that bring them from state to state."""

from mediacrawl.ledger.base import Entry, State

KEY = "http://h/a.jpg"
WANTED = Entry(KEY, "http://h/a.jpg?token=1", page="http://h/", spider="gallery", wish='{"filename": "a.jpg"}')
WHOLE = WANTED._replace(
    path="gallery/h/a.jpg",
    size_bytes=10,
    sha256="ab" * 32,
    validators='{"etag": "v1"}',
    content_type="image/jpeg",
    http_status=200,
)
LOST_LINK = WANTED._replace(http_status=404, reason="HTTP 404 Not Found", permanent=True)


def row(ledger, key=KEY):
    return ledger.lookup([key]).get(key)


def bring_to(ledger, state):
    """A row in that state, by the calls that a run makes; at the time 1.0."""
    if state == State.PENDING:
        ledger.record_wanted([WANTED], 1.0)
    elif state == State.FAILED:
        ledger.record_failure([LOST_LINK], 1.0)
    elif state is not None:
        ledger.claim(WHOLE)
        if state == State.DONE:
            ledger.finish([WHOLE], 1.0)


CALLS = {
    "want": lambda ledger: ledger.record_wanted([WANTED], 2.0),
    "claim": lambda ledger: ledger.claim(WHOLE),
    "finish": lambda ledger: ledger.finish([WHOLE], 2.0),
    "settle done": lambda ledger: ledger.settle(KEY, State.DONE, 2.0),
    "settle pending": lambda ledger: ledger.settle(KEY, State.PENDING, 2.0),
    "refresh": lambda ledger: ledger.record_unchanged([KEY], 2.0),
    "fail": lambda ledger: ledger.record_failure([LOST_LINK], 2.0),
    "lose": lambda ledger: ledger.mark_missing([KEY]),
    "damage": lambda ledger: ledger.mark_corrupt(KEY, "altered"),
    "forget": lambda ledger: ledger.forget([KEY]),
}
