"""The tag and the filter of the templates of the pages."""

from __future__ import annotations

from django import template
from django.urls import reverse

from mediacrawl.fetch.stats import size_text
from mediacrawl.server.pages.static_files import STATIC_FILES

register = template.Library()
register.filter("size", size_text)


@register.simple_tag
def static_url(name: str) -> str:
    """Return the URL of a file of the package; it changes with the file."""
    return f"{reverse('static', args=[name])}?v={STATIC_FILES[name].version}"
