"""What tests of frontiers share."""


def add(frontier, *names, **arguments):
    return [frontier.add(name.encode(), f"data of {name}".encode(), **arguments) for name in names]


def lease(frontier, at_most=99):
    """The names of the next pages, and their ids."""
    pages = []
    while len(pages) < at_most and (page := frontier.lease()) is not None:
        pages.append(page)
    return [page.data.decode().removeprefix("data of ") for page in pages], [page.id for page in pages]


def names(frontier, at_most=99):
    return lease(frontier, at_most)[0]
