"""What looks like a secret in a repository: it is written neither into the app file nor among the findings.

Called by `recordings` for every text that a repository gives, and by the mapping modules for settings and functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

from gnomon.telemetry.logs import hide_secrets

_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s\"'<>]+")
_PORT = re.compile(r"\d+(,[^@]*)?")
_PARAMETER = re.compile(r"([?&;])([^=&;]+)=([^&;]*)")
_MORE_NAMES = re.compile(
    r"(^|[_.-])(pwd|sig|signature|dsn|account[_-]?key|conn(ection)?[_-]?str(ing)?)$", re.IGNORECASE
)
_WITHOUT_PORT = ("s3", "s3a", "s3n", "gs", "gcs")
_WITH_CONTAINER = ("abfs", "abfss", "wasb", "wasbs")
_HIDDEN = "***"


def is_secret_name(name: str) -> bool:
    """Tell whether what has this name is likely a secret: what the logs hide, and some that only settings have."""
    return hide_secrets(None, "", {name: ""})[name] != "" or _MORE_NAMES.search(name) is not None


def without_credentials(text: str) -> str:
    """Return a text without users and passwords in URLs, and without secrets in their parameters.

    Args:
        text: Any; a URL ends at a space or a quotation mark.

    Returns:
        The same text where there are none.

    Example:
        >>> without_credentials("from s3://key:secret@bucket/a.csv and http://host:80/?token=abc")
        'from s3://bucket/a.csv and http://host:80/?token=***'
    """
    return _URL.sub(lambda found: _clean(found[0]), text)


def _clean(url: str) -> str:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    head = re.split(r"[/?#]", rest, maxsplit=1)[0]
    name, colon, tail = head.partition(":")
    user = name.partition("@")[0]
    if "@" in name:
        rest = name.rpartition("@")[2] + rest[len(name) :]
        found = scheme not in _WITH_CONTAINER
    else:  # up to the last @: a password may hold one, and slashes
        found = bool(colon) and "@" in rest and (scheme in _WITHOUT_PORT or not _PORT.fullmatch(tail))
        rest = rest.rpartition("@")[2] if found else rest
    if scheme in _WITH_CONTAINER and (found or "@" in name):  # what stands there is no user
        rest = f"{user}@{rest}"
    path, mark, parameters = rest.partition("?")
    return f"{url.partition('://')[0]}://{path}{_PARAMETER.sub(_without_value, mark + parameters)}"


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={_HIDDEN}" if is_secret_name(found[2]) else found[0]


def cleaned(value: Any) -> Any:
    """Return a value as the recorder writes it without credentials in the URLs of its texts; code stays as it is."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict) and "$function" not in value:
        return {key: cleaned(item) for key, item in value.items()}
    return value


def secret_in_code(texts: Iterable[str]) -> str:
    """Return what looks like a secret that is written in code: its name, or what it is; empty where nothing does."""
    for text in texts:
        urls = (found[0] for found in _URL.finditer(text))
        if any("{" not in url and _clean(url) != url for url in urls):  # else it is filled in later
            return "a URL with credentials"
        for node in ast.walk(ast.parse(text)):
            for name, value in _named_values(node):
                if is_secret_name(name) and _is_text(value):
                    return f"'{name}'"
    return ""


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and len(node.value) > 0


def _named_values(node: ast.AST) -> list[tuple[str, ast.AST | None]]:
    """Return what a node of code gives a name to."""
    if isinstance(node, ast.Assign):
        return [(_name_of(target), node.value) for target in node.targets]
    if isinstance(node, ast.AnnAssign):
        return [(_name_of(node.target), node.value)]
    if isinstance(node, ast.keyword):
        return [(node.arg or "", node.value)]
    if isinstance(node, ast.Dict):
        return [(_name_of(key), value) for key, value in zip(node.keys, node.values, strict=True)]
    if isinstance(node, ast.arguments):
        plain = [*node.posonlyargs, *node.args]
        last = plain[len(plain) - len(node.defaults) :]
        pairs = [*zip(last, node.defaults, strict=True), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        return [(argument.arg, default) for argument, default in pairs]
    return []


def _name_of(node: ast.AST | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _name_of(node.slice)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
