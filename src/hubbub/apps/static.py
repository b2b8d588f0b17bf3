"""Serves the pages that are built from `web/app`: hashed files are kept for good, pages are asked for anew."""

import re
from pathlib import Path, PurePath
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

BUILT: Final = Path(__file__).parent / "pages"
ASSETS: Final = "assets/"
NOT_BUILT: Final = "The pages are not built. `make pages` builds them; `pip install` without -e brings them."
HEADERS: Final = {
    # Nothing of others, nothing inline; 'self' in connect-src is the page's own WebSocket as well.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
FOR_GOOD: Final = "public, max-age=31536000, immutable"
ASK_ANEW: Final = "no-cache"
TAKES_GZIP: Final = re.compile(r"(?:^|[,\s])gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)


class Pages(StaticFiles):
    """`/` is index.html, `/dashboard` is dashboard.html, and `/assets/` is what they load.

    The build puts gzipped copies beside them, for whoever takes that.

    Args:
        directory: where they are.
        index: the page that is `/`.
    """

    def __init__(self, directory: Path = BUILT, index: str = "index.html") -> None:
        super().__init__(directory=directory, check_dir=False)
        self._index = index

    async def check_config(self) -> None:
        """Whether the pages are there is said in an answer: the application does without them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        name = self._file_of(path)
        if name.endswith(".gz"):
            raise HTTPException(404)
        if scope["path"].endswith("/") and path != ".":  # what the page loads is beside it
            return RedirectResponse(f"../{PurePath(path).name}")
        try:
            response = await self._response(name, scope)
        except HTTPException as error:
            if error.status_code == 404 and not self._built():
                return PlainTextResponse(NOT_BUILT, 503)
            raise
        response.headers.update(HEADERS)
        response.headers["Cache-Control"] = FOR_GOOD if name.startswith(ASSETS) else ASK_ANEW
        return response

    async def _response(self, name: str, scope: Scope) -> Response:
        if TAKES_GZIP.search(Headers(scope=scope).get("accept-encoding", "")):
            try:
                response = await super().get_response(f"{name}.gz", scope)
            except HTTPException as error:
                if error.status_code != 404:
                    raise
            else:
                response.headers["Content-Encoding"] = "gzip"
                return response
        return await super().get_response(name, scope)

    def _built(self) -> bool:
        return self.lookup_path("index.html")[1] is not None

    def _file_of(self, path: str) -> str:
        if path == ".":
            return self._index
        return path if PurePath(path).suffix else f"{path}.html"
