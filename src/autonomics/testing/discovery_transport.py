"""A transport that holds what goes through it to discovery documents."""

from __future__ import annotations

import httpx2

from autonomics.testing.discovery import Discovery, NotConforming


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Checks each request, and each answer, against the document that has its method.

    Raises NotConforming where either is none of the API's. With `takes_any_request`, only answers
    are checked: for tests of what an end refuses.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        *documents: Discovery,
        takes_any_request: bool = False,
    ) -> None:
        self._inner = inner
        self._documents = documents
        self._takes_any_request = takes_any_request
        self.checked: list[str] = []
        """Ids of the methods whose answers were checked, in order."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check, send, check."""
        target = request.url.raw_path.decode()
        document = self._find(request.method, target)
        if not self._takes_any_request:
            document.check_request(request.method, target, await request.aread() or None)
        response = await self._inner.handle_async_request(request)
        await response.aread()
        method = document.check_response(
            request.method, target, response.status_code, response.content
        )
        self.checked.append(method.id)
        return response

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._inner.aclose()

    def _find(self, method: str, target: str) -> Discovery:
        *others, last = self._documents
        for document in others:
            try:
                document.find(method, target)
            except NotConforming:
                continue
            return document
        return last
