"""A middleware of a Django project."""

from __future__ import annotations

import asyncio

from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def wrapping(get_response):
    """A middleware that changes the content of responses, as Django's documentation has it."""

    def wrapped(content):
        for chunk in content:
            yield chunk.swapcase()

    async def wrapped_async(content):
        async for chunk in content:
            yield chunk.swapcase()

    def change(response):
        wrap = wrapped_async if response.is_async else wrapped
        response.streaming_content = wrap(response.streaming_content)
        return response

    def middleware(request):
        return change(get_response(request))

    async def middleware_async(request):
        return change(await get_response(request))

    return middleware_async if asyncio.iscoroutinefunction(get_response) else middleware
