"""All parsers of text from outside: from servers, pages, lists, and from damaged files of the store.

Each has the inputs that are known to be worst for it, as functions of their length. `test_outside_text.py` measures
all of them, and feeds each with nonsense. A new parser of such text belongs in this table.
"""

from __future__ import annotations

import io
import json
import zlib
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple

from protego import Protego
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding
from w3lib.html import get_base_url, get_meta_refresh

from mediacrawl.crawl.page_body import is_complete
from mediacrawl.download import content_coding, content_family, cookies, signatures
from mediacrawl.download.decoding import decoded
from mediacrawl.errors import ConnectionLost, UsageProblem, redact_url
from mediacrawl.extract import (
    attributes,
    css,
    document,
    frames,
    icons,
    link_target,
    links,
    login,
    markup,
    media,
    media_queries,
    nesting,
    next_words,
    page_digest,
    page_numbers,
    pagination,
    references,
    refresh,
    srcset,
    structured_data,
)
from mediacrawl.fetch import advice, filenames
from mediacrawl.headers import (
    ContentRange,
    ETag,
    Validators,
    digests_from_headers,
    filename_from_disposition,
    http_date,
    kind_of_path,
    media_type,
    parse_range,
    percent_decoded,
    retry_after_s,
)
from mediacrawl.headers.charset import codec_of, decode_text
from mediacrawl.headers.link import reference_of
from mediacrawl.ledger.base import Entry
from mediacrawl.ledger.rows import options_of
from mediacrawl.server.uploads.protocol import BadRequest, UploadRequest, announced_file, command_of, parse_metadata
from mediacrawl.sources.folder_page import read_folder_page
from mediacrawl.sources.url_list import read_list
from mediacrawl.store import safe_paths
from mediacrawl.store.part_record import BadRecord, checked_record
from mediacrawl.transport import chunks, curl, fields, head, http1
from mediacrawl.transport.proxies import proxy_url
from mediacrawl.urls import Origin, as_sent, former_key_of_url, key_of_url, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[int], str]

URL = "http://h.example/a/b"
MARKS = "\u0315\u0300\u05ae\u0327"  # combining letters in an order that has to be changed: slow to normalise


class Parser(NamedTuple):
    """A parser, the inputs that are worst for it, and the errors that its docstring documents."""

    name: str
    parse: Callable[[str], object]
    worst: tuple[Make, ...]
    raises: tuple[type[Exception], ...] = ()


def many(text: str, before: str = "", after: str = "") -> Make:
    """Make inputs of many times a text."""
    return lambda size: before + text * (size // len(text)) + after


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def page_of(text: str) -> links.Page:
    return links.Page.from_text(text, URL)


def uncached(function):
    """The function behind a cache, which would answer the second measurement."""
    return function.__wrapped__


# --- how the parsers are called -------------------------------------------------------------------


def told_of_upload(text):
    return announced_file(parse_metadata(text))


def joined_uploads(text):
    fields = {"upload-concat": text, "tus-resumable": "1.0.0"}
    return command_of(UploadRequest("POST", "", fields.get, "/uploads/"))


def read_head(text):
    lines = octets(text).splitlines(keepends=True)
    return head.read_head([b"HTTP/1.1 200 OK\r\n", *lines])


def heads_of_curl(text):
    """As libcurl does it: a line, then the question whether that was all."""
    lines: list[bytes] = []
    heads = curl._Heads(lines)
    for line in octets(text).splitlines(keepends=True):
        lines.append(line)
        heads.final()


def chunk_by_chunk(text):
    decoder = chunks.ChunkDecoder()
    data = octets(text)
    return [decoder.decode(data[at : at + 100]) for at in range(0, len(data), 100)]


def unpacked(text):
    return sum(map(len, decoded(iter([text.encode("latin-1", "replace")]), "gzip", URL)))


def empty_members(size):
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    member = (packer.compress(b"") + packer.flush()).decode("latin-1")
    return member * (size // len(member))


def packed_noise(size):
    noise = bytes((n * n * 7919 >> 7) & 255 for n in range(size))
    return zlib.compress(noise, 1).decode("latin-1")


def kept_cookies(text):
    text = octets(text).decode("latin-1")
    return cookies.Cookies().keep(0, "http://h.example/a", text.split("\n"))


def cookie_file(text):
    return [cookies._cookie_of(line.split("\t")) for line in text.splitlines()]


def refused(text):
    for expected, declared in (("image/jpeg", "image/jpeg"), (None, None), ("image/svg+xml", "text/html")):
        content_family.find_refusal(expected, declared, octets(text))


def codings(text):
    names = content_coding.codings_of(text)
    return content_coding.removal_of(names[:4], octets(text)[: content_coding.PEEKED_BYTES], [text], text)


def attributes_in(text):
    names = ("data-src", "data-x", "data-srcset", "data-bg", "flashvars", "data-widths", ":data-a")
    return list(attributes.files_of(attributes.references_in(dict.fromkeys(names, text))))


def media_of(text):
    return media.find_media(page_of(text))


def media_in_attributes(text):
    """A page with the text in each attribute that is read in its own way."""
    value = text.replace("&", "&amp;").replace('"', "&quot;").replace("\r", "")
    names = ("href", "src", "srcset", "style", "data-src", "title", "rel", "media", "download", "class", "onclick")
    given = " ".join(f'{name}="{value}"' for name in names)
    return media.find_media(page_of("".join(f"<{tag} {given}>x" for tag in ("a", "img", "link", "meta", "embed"))))


def next_of(text):
    return pagination.find_next(page_of(text))


def next_in_attributes(text):
    value = text.replace("&", "&amp;").replace('"', "&quot;").replace("\r", "")
    names = ("href", "title", "class", "onclick", "data-next-url", "id")
    given = " ".join(f'{name}="{value}"' for name in names)
    return next_of(f'<div class="{value}">1 <a {given}>{value.replace("<", "")}</a> <button {given}>2</button></div>')


def next_of_long_url(text):
    page = links.Page.from_text("<a title=other href=/x class=next>x</a>" * 3, f"{URL}?{text}")
    return pagination.find_next(page)


def login_of(text):
    return login.asks_for_login(links.Page.from_text("<input type=password>", f"{URL}/{text}"), f"{URL}/b/{text}")


def digest_of(text):
    page = page_of(f"<p>{text.replace('<', '')}<a href='/{text}'>")
    return page_digest.page_digest(page, [text]), page_digest.short_texts(page)


def frames_in(text):
    return [list(frames.frames_of(one, URL)) for one in frames.documents(page_of(text))]


def refreshes(text):
    return refresh.find_refresh(page_of("<p>"), text), refresh.find_refresh(page_of(text))


def robots(text):
    text = octets(text).decode(errors="replace")
    rules = Protego.parse(text)
    return rules.can_fetch(f"{URL}/{text[:2000]}", "mediacrawl"), rules.crawl_delay("x")


def record_of(text):
    return checked_record(json.loads(text))


def many_ranges(size):
    ranges = [[3 * n, 3 * n + 1] for n in range(size // 10, 0, -1)]
    return json.dumps(
        {"version": 1, "complete_length": None, "ranges": ranges, "in_order": False, "boot": "", "head": {}}
        | {"validators": {}}
    )


def list_of(text):
    return list(read_list(io.StringIO(text)))


def page_encoding(text):
    return html_body_declared_encoding(octets(text)), http_content_type_encoding(text)


def link_page(text):
    text = octets(text).decode("utf-8", "replace")  # a page has no lone surrogates once it is decoded
    return get_base_url(text, URL), get_meta_refresh(text, URL)


# --- the table ------------------------------------------------------------------------------------

BLANKS = (many(" "), many(" ", "a", "b"), many("\t ", '"', "\0"))
NAMES = (many(MARKS), many("\u0f75"), many("."), many(" ."), many("/"), many("%41"), many("\\"), many("a/../"))
MARKUP = (
    *(many("<"), many("<a "), many("<!--"), many("<a b='"), many("<a a=1 "), many("a ", "<a "), many("</p>")),
    *(many("<p>"), many("<template>"), many("<script>"), many("<b/"), many("<!x "), many("<?x "), many("&amp;")),
    *(many("<svg><![CDATA["), many("="), many(" =", "<a "), many('<a href="'), many("<base ")),
)
CSS = (
    *(many("/*"), many("url("), many("a{"), many("image-set("), many("}"), many("@media "), many('"', "url(")),
    *(many("a:url(x);"), many("\\", "url("), many("(", "image-set(url(x)"), many("1.", "image-set(url(x) ")),
)

URLS = tuple(
    many(unit, before)
    for before, units in (
        ("", ("a", MARKS, "/..", "%", "?", " ", "@")),
        (f"{URL}/", (MARKS, "/..", "../", "%", "é", "\\", "?", "[")),
        ("http://", (MARKS, "é", "a.", "@", ":", "[")),
        ("http://a@", (MARKS, "@", "%")),
    )
    for unit in units
)

PARSERS = [
    # Headers
    Parser(
        "Content-Disposition",
        lambda text: filename_from_disposition(text, "cp1251"),
        (
            *(many(" ", "a; filename="), many("; a", 'a; filename="'), many("\\", 'a; filename="'), many(",")),
            *(many("=?u?q?", "a; filename="), many("=?u?q?a?= ", "a; filename="), many("filename*1*=a;")),
        ),
    ),
    Parser(
        "Link", lambda text: reference_of("next", [text]), (many("<"), many('<">;'), many("<a>;"), many(";", "<a>"))
    ),
    Parser("HTTP-date", http_date, BLANKS),
    Parser(
        "digests",
        lambda text: digests_from_headers({"repr-digest": text, "digest": text, "content-md5": text}),
        (*BLANKS, many("sha-256=:a:,"), many("=")),
    ),
    Parser("Content-Type", media_type, (*BLANKS, many("/"), many("a/"))),
    Parser("kind of a path", kind_of_path, NAMES),
    Parser("Content-Range", ContentRange.from_header, (*BLANKS, many("0"), many("-"))),
    Parser("Upload-Metadata", told_of_upload, (many("a YQ==,"), many(","), many("YQ", "a ")), (BadRequest,)),
    Parser(
        "Upload-Concat", joined_uploads, (many("/uploads/a ", "final;"), many(" ", "final;"), many("//[", "final;"))
    ),
    Parser("Range", lambda text: parse_range(text, 100), (many("0-0,", "bytes="), many(","), many("0", "bytes="))),
    Parser("Retry-After", lambda text: retry_after_s(text, 0.0), (*BLANKS, many("1"), many("1, "), many("1 ,"))),
    Parser("ETag", ETag.from_header, (*BLANKS, many('"'), many("W/"))),
    Parser("validators", lambda text: Validators.from_headers({"etag": text, "last-modified": text}), BLANKS),
    Parser("percent-escapes", lambda text: percent_decoded(text, "cp1251"), (many("%"), many("%e4"), many("%41"))),
    Parser("charset", codec_of, (*BLANKS, many("-"), many("x_"))),
    Parser("text in a charset", lambda text: decode_text(octets(text), "iso2022_jp"), (many("\x1b$B"), many("\xe9"))),
    # Heads and bodies
    Parser(
        "head",
        read_head,
        (
            *(many(" ", "a: "), many(" ", "a: x\r\n", "b\r\n"), many("\r\n ", "a: b", "\r\n"), many("a: b\r\n")),
            *(many("\n\t", "a:"), many(",", "Content-Length: 1", "\r\n"), many(", chunked", "Transfer-Encoding: a")),
            *(many("a\n"), many("a b: c\n"), many("Set-Cookie: a=b\n"), many(" \n", "a: b\n")),
        ),
        (fields.InvalidHead,),
    ),
    Parser(
        "status line",
        head.status_line,
        (many(" ", "HTTP/1.1 200 ", "\0"), many("\t", "HTTP/1.1"), many("a ", "HTTP/1.1 200 ")),
        (fields.InvalidHead,),
    ),
    Parser(
        "plain head",
        lambda text: http1.plain_head(b"HTTP/1.1 200 OK\r\n" + octets(text)),
        (many(" ", "a:"), many("a:b \r\n"), many("a:\r\n"), many("\t", "a:", "\r\n")),
        (fields.InvalidHead,),
    ),
    Parser("heads of libcurl", heads_of_curl, (many("a: b\r\n"), many("HTTP/1.1 100\r\n\r\n"), many("\n"))),
    Parser(
        "chunk size",
        lambda text: chunks.chunk_size(octets(text)),
        (many(" ", "1", "\r\n"), many("0"), many(";", "1")),
        (HTTPException,),
    ),
    Parser("chunks", chunk_by_chunk, (many("1\r\na\r\n"), many(";", "1"), many("1\n\n\n")), (HTTPException,)),
    Parser("gzip", unpacked, (empty_members, many("\0", empty_members(1000))), (ConnectionLost,)),
    Parser(
        "deflate of a page", lambda text: is_complete(text.encode("latin-1", "replace"), "deflate"), (packed_noise,)
    ),
    Parser("codings", codings, (many("gzip,"), many(","), many(" "))),
    Parser(
        "signatures",
        lambda text: (signatures.is_text(octets(text)), signatures.formats_of_name(text)),
        (many("."), many("é")),
    ),
    Parser(
        "kind of the first bytes",
        refused,
        (
            *(
                many(" "),
                many("<!--"),
                many("<!-->"),
                many("<!doctype a["),
                many("[ ] ", "<!doctype html"),
                many("<?x?>"),
            ),
            *(many("#\n", "P1 "), many("\n", "P1 #"), many("*/ ", "/*"), many(" ", "#define "), many("1", "", "\n")),
        ),
    ),
    # Cookies
    Parser(
        "Set-Cookie",
        kept_cookies,
        (
            *(
                many(";", "a=b"),
                many("a=b;"),
                many(" ", "a=b; expires="),
                many("a.", "a=b; domain="),
                many(" ", "a=b;"),
            ),
            *(many("Mon, ", "a=b; expires="), many("/", "a=b; path=/"), many("a=b; domain=h.example\n")),
        ),
    ),
    Parser(
        "cookies.txt",
        cookie_file,
        (many("\t"), many("1", "h\tTRUE\t/\tTRUE\t", "\ta\tb")),
        (ValueError, OverflowError),
    ),
    # URLs
    Parser("URL without credentials", redact_url, (*URLS, many(MARKS, "//", "@x"), many("@"), many("a", "http://"))),
    Parser(
        "words of a command",
        lambda text: [advice._masked(option, text) for option in ("-s", "-a", "--header", "--cookie", "")],
        (many("x"), many("x", "A="), many("://x", "A="), many("KEY"), many("a="), many("://a@ "), many("KEY=")),
    ),
    Parser("URL as sent", as_sent, URLS, (ValueError,)),
    Parser("key of a URL", key_of_url, URLS, (ValueError,)),
    Parser("former key of a URL", lambda text: former_key_of_url(text[:8_000]), URLS),
    Parser("origin", Origin.of, URLS),
    Parser("reference", lambda text: resolve(URL, text), URLS, (ValueError,)),
    Parser("link", lambda text: links.absolute(URL, text), URLS),
    Parser(
        "proxy",
        lambda text: uncached(proxy_url)(text, "http_proxy"),
        (many("@"), many("/"), many(":")),
        (UsageProblem,),
    ),
    # Lists
    Parser(
        "list",
        list_of,
        (
            *(many("\n"), many("#\n"), many(","), many(",", "url"), many('"', "url\n"), many("[", '{"url":')),
            *(
                many("9", '{"url":'),
                many("http://h/a\n"),
                many("{}\n"),
                many('""\n', "url\n"),
                many(MARKS, "http://"),
            ),
            *(many('{"key":"a","url":"http://h/a"}\n'), many("\ufeff", "a")),
        ),
    ),
    Parser(
        "folder of a server",
        lambda text: read_folder_page(octets(text), "http://h.example/files/"),
        (
            *(many("["), many("9", '{"folder":'), many(" "), many("{}"), many('"')),
            many('{"kind":"file","href":"a"},', '{"folder":"","entries":[', '{"kind":"file","href":"b"}]}'),
            many("%2e", '{"folder":"","entries":[{"kind":"file","href":"', '"}]}'),
            many("../", '{"folder":"","entries":[{"kind":"file","href":"', '"}]}'),
            many("a/", '{"folder":"","entries":[{"kind":"folder","href":"', '"}]}'),
        ),
        (ValueError,),
    ),
    # Names
    Parser("safe name", safe_paths.safe_name, NAMES),
    Parser("safe path", safe_paths.safe_relative_path, NAMES),
    Parser("safe folders", safe_paths.safe_folders, NAMES),
    Parser("fold of a safe path", lambda text: safe_paths.fold(safe_paths.safe_relative_path(text)), NAMES),
    Parser(
        "numbered", lambda text: safe_paths.is_numbered(safe_paths.safe_name(text), "a.jpg"), (many("-1"), many("1"))
    ),
    Parser(
        "name of a file",
        lambda text: filenames.file_name(
            f"http://h/{text}", {"content-disposition": text, "content-type": text}, text
        ),
        NAMES,
    ),
    Parser("path of a file", lambda text: filenames.preferred_path("s", f"http://h/{text}"), NAMES),
    Parser("expected type", lambda text: filenames.expected_type(f"http://h/{text}", text), NAMES),
    # Pages
    Parser("tree of a page", document.parse_html, MARKUP),
    Parser("tree of a feed", document.parse_xml, (*MARKUP, many("<a:b>"), many("<!DOCTYPE a [<!ENTITY b 'c'>]>"))),
    Parser("tags", lambda text: list(markup.tags(text)), MARKUP),
    Parser("templates", markup.without_templates, (*MARKUP, many("<template></template>"), many(" ", "<template"))),
    Parser("attributes of a tag", markup.with_few_attributes, (*MARKUP, many("b ", "<a "), many("b='", "<a "))),
    Parser("nesting", nesting.flattened, (*MARKUP, many("<b><i></b>"), many("<b>", "", "</i>"))),
    Parser("media of a page", media_of, MARKUP),
    Parser(
        "media in attributes",
        media_in_attributes,
        (many(MARKS, "http://"), many(" a.jpg"), many(","), many("a.jpg|"), many("{"), many("url("), many("%")),
    ),
    Parser("next page", next_of, MARKUP),
    Parser(
        "next page in attributes", next_in_attributes, (many(MARKS), many("next "), many("a "), many("("), many("-"))
    ),
    Parser("next page of a long URL", next_of_long_url, (many(MARKS), many("1"), many("page=1&"))),
    Parser("CSS", css.pictures_of_css, CSS),
    Parser(
        "srcset", srcset.largest_first, (many(","), many("a 1x,"), many("(", "a "), many("["), many("|"), many(" | "))
    ),
    Parser(
        "JSON-LD",
        lambda text: list(structured_data.media_of_json_ld(text)),
        (
            *(
                many(","),
                many("[", "x"),
                many('{"a":'),
                many("/*", "x"),
                many(", ", "[1"),
                many('"'),
                many("\\", '["'),
            ),
            *(many("<!--"), many("//", "x"), many("9", "["), many("&quot;", "x"), many("{},"), many("*/", "/*")),
        ),
    ),
    Parser("media query", media_queries.applies, (many("("), many("not "), many(","), many("(a)and"))),
    Parser(
        "attributes", attributes_in, (many("["), many('{"a":'), many(","), many("a.jpg "), many("{w}"), many("a=&"))
    ),
    Parser("may be a URL", attributes.may_be_url, (many("/"), many(" "), many("a.jpg,"))),
    Parser(
        "words of a reference",
        lambda text: (
            references.kind_of_link(text),
            references.is_document_link(text),
            references.is_template(text),
            references.is_blank(text),
            references.is_stand_in(text),
            references.is_counter(text, is_hidden=True),
            link_target.is_placeholder(text),
        ),
        (
            many("{"),
            many("[["),
            many("%%"),
            many("@@a"),
            many("_A", "__"),
            many("%7b"),
            many("__A"),
            many("-1px", "1px"),
        ),
    ),
    Parser(
        "refresh",
        refreshes,
        (*BLANKS, many("0"), many("."), many("'", "0;url="), many(";"), many("<meta http-equiv=refresh>")),
    ),
    Parser(
        "frames",
        frames_in,
        (many("<iframe srcdoc='<p>'>"), many("<frame src=a>"), many("&lt;iframe srcdoc=", "<iframe srcdoc='")),
    ),
    Parser("login", login_of, (many("login"), many("%"), many("a/b/"))),
    Parser("digest of a page", digest_of, (many("1"), many("a "), many("1/"), many("<p>1:"))),
    Parser(
        "text of a link",
        lambda text: uncached(next_words.meaning_of)(text[:200]),
        (many(MARKS), many("1 "), many("next ")),
    ),
    Parser(
        "icon", lambda text: uncached(icons._shown_by)(text[:200]), (many("arrow"), many("arrow-"), many("next-"))
    ),
    Parser(
        "page numbers",
        lambda text: (
            page_numbers.number_of(text),
            uncached(page_numbers._counts_on)(f"http://h/a{text}", f"http://h/b{text}"),
            page_numbers.differ_in_date(f"http://h/a?{text}", f"http://h/a?month=1{text}"),
        ),
        (many("1"), many("/1"), many("page="), many("?page=1"), many(".html"), many("&a=")),
        (),
    ),
    # What Scrapy reads of pages and of robots.txt
    Parser("encoding of a page", page_encoding, (*MARKUP, many("<meta "), many("<?xml "), many(" charset="))),
    Parser("base and refresh of a page", link_page, (*MARKUP, many("<meta "), many("<base "), many("<noscript>"))),
    Parser(
        "robots.txt",
        robots,
        (
            *(many("\n"), many("a"), many("User-agent: *\n"), many("Disallow: /a\n", "User-agent: *\n"), many(" ")),
            *(many("*a", "User-agent: *\nDisallow: /"), many("%", "User-agent: *\nDisallow: /"), many(":")),
        ),
    ),
    # Damaged files of the store
    Parser(
        "options of a row",
        lambda text: options_of(Entry("k", "http://h/", wish=text)),
        (many("["), many("9"), many(" "), many('{"a":'), many("9", '{"sha256":"', '"}')),
    ),
    Parser(
        "record of a part",
        record_of,
        (many_ranges, many("["), many("[0,1],", '{"ranges":[')),
        (BadRecord, ValueError, RecursionError),
    ),
]
