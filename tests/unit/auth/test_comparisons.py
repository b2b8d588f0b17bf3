"""Row 40: what is secret is compared in constant time, wherever it is compared."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubbub

SOURCES = Path(hubbub.__file__).parent
LOOKED_AT = sorted([*SOURCES.glob("auth/*.py"), SOURCES / "hub/session.py", SOURCES / "hub/revocations.py"])
SECRET_WORDS = {"secret", "signature", "signed", "digest", "mac", "hmac", "token", "ticket", "password", "key"}
# With itself, when the server starts: nobody can time it.
ALLOWED = {"secret[length:] == secret[:-length]"}
COMPARED = {
    "auth/api_keys.py": ["compare_digest(digest, shown)"],
    "auth/cookies.py": ["compare_digest(mac, parts['mac'].encode())"],
    "hub/session.py": ["compare_digest(signed.encode(), signature.encode(errors='replace'))"],
}
BY_LIBRARIES = {
    "auth/cookies.py": ["itsdangerous.TimestampSigner(self._secret).unsign(cookie, return_timestamp=True)"],
    "auth/tokens.py": ["_ALGORITHMS[algorithm].verify(content.encode(), key, jwt.utils.base64url_decode(signature))"],
}


def names_in(node: ast.AST) -> Iterator[str]:
    """The words in the names of an expression."""
    for part in ast.walk(node):
        name = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
        yield from name.lower().strip("_").split("_")


def secret_comparisons(source: str) -> list[str]:
    """Each `==` or `!=` with a secret's name in it, other than with a literal."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and not any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
        and SECRET_WORDS & set(names_in(node))
    ]


def calls_of(source: str, names: set[str]) -> list[str]:
    """Each call of a function of these names."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call).removeprefix("hmac.")
        for call in calls
        if (isinstance(call.func, ast.Attribute) and call.func.attr in names)
        or (isinstance(call.func, ast.Name) and call.func.id in names)
    ]


@pytest.mark.parametrize("path", LOOKED_AT, ids=lambda path: path.stem)
def test_row_40_no_equals_sign_compares_a_secret(path: Path) -> None:
    assert set(secret_comparisons(path.read_text())) <= ALLOWED


def test_row_40_our_own_signatures_are_compared_in_constant_time() -> None:
    found = {str(path.relative_to(SOURCES)): calls_of(path.read_text(), {"compare_digest"}) for path in LOOKED_AT}
    assert {path: calls for path, calls in found.items() if calls} == COMPARED


@pytest.mark.parametrize(("path", "calls"), BY_LIBRARIES.items(), ids=BY_LIBRARIES)
def test_row_40_those_of_others_are_compared_by_their_libraries(path: str, calls: list[str]) -> None:
    assert set(calls) <= set(calls_of((SOURCES / path).read_text(), {"unsign", "verify"}))


@pytest.mark.parametrize(
    "source",
    ["a == secret", "self._signature != given", "digest == expected.encode()", "mac(x) == y", "x.session_token == y"],
)
def test_row_40_a_comparison_of_a_secret_would_be_found(source: str) -> None:
    assert secret_comparisons(source) == [source]
