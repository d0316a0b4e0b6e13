"""Redact secret options, credentials in URLs, local absolute paths and the host name from text that is stored or shown.

`redact` is applied to every record by `mrb._util.files.write_json`, to a reranker's declarations before they become
its identity, and to text files written with records. `hide_secrets` is for messages, in which users need the paths.

All secrets are replaced by the same text, so a secret is not part of any identity. A path keeps its last name and four
hex digits of its hash, so that a resume detects another path.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import NoneType
from typing import Any

from mrb._util.hashing import hash_bytes
from mrb._util.home import find_home

PATH, SECRET, HOST = "(path)", "(withheld)", "(host)"
SHORTEST = 6
"""Shorter secrets are not searched for inside other text, because they would match too often."""

# Words, and two neighbouring words joined, that mean a secret wherever they stand in a name, also in the plural. `keys`
# and `tokens` alone do not: `max_tokens` is no secret.
_SECRET_WORDS = frozenset((
    "secret", "password", "passwd", "passphrase", "pw", "userpass", "dbpass", "bearer", "authorization", "cred",
    "credential", "cookie", "apikey", "accesskey", "privatekey", "apitoken", "accesstoken", "authtoken", "hftoken",
))  # fmt: skip
# Words that mean a secret unless another word of the name says otherwise: a token of text, a key of a table.
_SECRET_UNLESS_PLAIN = frozenset(("key", "token", "auth", "pwd"))
_PLAIN = frozenset((
    "yes", "no", "true", "false", "pad", "eos", "bos", "unk", "sep", "cls", "mask", "image", "vision", "video", "start",
    "end", "first", "last", "final", "special", "stop", "new", "max", "min", "per", "query", "document", "score",
    "label", "positive", "negative", "relevant", "relevance", "sort", "table", "primary", "foreign", "type", "dim",
    "count", "length", "size", "head", "heads", "value", "id", "ids", "index",
    "position", "padding", "side", "prefix", "suffix", "cache", "kv", "mode", "weight", "pooling", "column", "field",
))  # fmt: skip
_PLACES = frozenset(("env", "file", "path", "name"))
"""Last words of names whose value says where a secret is and is none itself (`api_key_env`)."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NAMED = re.compile(r"""(?<![\w-])(?P<quote>["']?)(?P<name>[A-Za-z][\w-]*)(?P=quote)\s*[=:]\s*""")
_VALUE = re.compile(r""""[^"]*"|'[^']*'|(?:(?:Bearer|Basic|Token)\s+)?[^\s,;&?"'}\])]+""")
_OPTION = re.compile(r"-{0,2}[A-Za-z][\w.-]*")
_SCHEME = re.compile(r"(?:Bearer|Basic|Token)\s+", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/@]+@")
API_KEY = r"\b(?:sk|pk|rk|hf|gh[opsu]|github_pat|glpat|xox[abp]|AKIA|AIza|ya29)[-_.A-Za-z0-9]{16,}"
"""Pattern of the keys of well-known services, by their prefixes."""
_SHAPES = re.compile(
    rf"{API_KEY}"
    r"|(?<=\bBearer )[-._~+/=A-Za-z0-9]{6,}|(?<=\bBasic )[-._~+/=A-Za-z0-9]{6,}"
)
_SEPARATORS = r"\\/"
_ABSOLUTE = r"(?:~[\w.-]*[\\/]|/(?!/)|[A-Za-z]:[\\/]|\\\\)(?=[^\s\\/])"
_WHOLE_PATH = re.compile(rf"(?:file://)?{_ABSOLUTE}[^\n]*")
_PATHS = re.compile(rf"""(?:file://(?=[/\\])|(?<![^\s=:,;"'(\[<>|])){_ABSOLUTE}[^\s,;"')\]<>|]*""")
_HOME = re.compile(r"(?:[A-Za-z]:)?[\\/](?:home|Users|root)(?:[\\/][^\\/]+)?|~[^\\/]*", re.IGNORECASE)

_FOLDERS = frozenset(("PWD", "OLDPWD"))  # working folders set by every shell, not passwords

_NUMBERS = (float, int, bool, NoneType)
_Names = dict[object, tuple[object, bool]]
"""What `_redact_name` returned for the names of a record, which repeat for every task and measure."""

_known: set[str] = set()


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether an option or field of this name holds a secret. Numbers are ignored (`api_key_2`)."""
    words = [word.lower() for word in _WORDS.findall(name) if not word.isdigit()]
    if not words or words[-1] in _PLACES:
        return False
    joined = {"".join(pair) for pair in pairwise(words)}
    if any({word, word.removesuffix("s")} & _SECRET_WORDS for word in (*words, *joined)):
        return True
    return not _SECRET_UNLESS_PLAIN.isdisjoint(words) and _PLAIN.isdisjoint(words)


def remember_secrets(options: Mapping[str, object]) -> None:
    """Register the secret values in `options`, nested ones too: from now on they are replaced in every text."""
    for name, value in options.items():
        inner = _parse_json(value) if isinstance(value, str) else value
        if is_secret_name(name):
            for text in _collect_texts(inner) if isinstance(inner, dict | list) else [str(value)]:
                _known.update(part for part in (text, _SCHEME.sub("", text)) if len(part) >= SHORTEST)
        elif isinstance(inner, Mapping):
            remember_secrets(inner)
        elif isinstance(inner, list | tuple):
            for one in inner:
                if isinstance(one, Mapping):
                    remember_secrets(one)


@dataclass(frozen=True, eq=False)  # compared by identity: a hash of its texts for every text read would cost more
class _Literals:
    """Literal text to replace: the secrets known now, the home folder, the host's names."""

    secrets: re.Pattern[str] | None
    homes: tuple[str, ...]
    hosts: re.Pattern[str] | None


def _find_literals() -> _Literals:
    """Return the literals of this process; read once per record, not once per text."""
    named = {value for name, value in os.environ.items() if name not in _FOLDERS and is_secret_name(name)}
    environment = {value for value in named if len(value) >= SHORTEST}
    written = {form for one in _known | environment for form in (one, json.dumps(one)[1:-1], repr(one)[1:-1])}
    host = socket.gethostname()
    hosts = {name for name in (host, host.partition(".")[0]) if len(name) > 3}
    home = find_home()
    homes = set() if home is None else {str(home), os.path.realpath(home)} - {"/"}
    return _compile_literals(frozenset(written), frozenset(homes), frozenset(hosts))


@lru_cache(maxsize=16)  # one object for the same literals: the cache of `_redact_text` is by it
def _compile_literals(secrets: frozenset[str], homes: frozenset[str], hosts: frozenset[str]) -> _Literals:
    def join(texts: frozenset[str]) -> str:
        return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))

    return _Literals(
        re.compile(f"(?:{join(secrets)})+") if secrets else None,
        tuple(sorted(homes)),
        re.compile(rf"(?<![A-Za-z0-9-])(?:{join(hosts)})(?![A-Za-z0-9-])") if hosts else None,
    )


def hide_secrets(text: str) -> str:
    """Return `text` without secrets: registered ones, those in the environment, credentials in URLs, and text that
    looks like an API key."""
    return _hide_secrets(text, _find_literals())


def redact_text(text: str) -> str:
    """Return `text` without secrets, absolute paths and the host name."""
    return _redact_text(text, _find_literals())


def redact(value: Any) -> Any:
    """Return a JSON value with `redact_text` applied to every text and the values of secret names replaced."""
    return _redact(value, _find_literals(), {})


def redact_shapes(value: Any) -> Any:
    """Return a JSON value as `redact` does without what only this machine knows (its secrets, home folder and hosts):
    the result is the same everywhere."""
    return _redact(value, _compile_literals(frozenset(), frozenset(), frozenset()), {})


def _hide_secrets(text: str, here: _Literals) -> str:
    if here.secrets is not None:
        text = here.secrets.sub(SECRET, text)
    text = _SHAPES.sub(SECRET, text)
    return _hide_named(_USER.sub(f"{SECRET}@", text), only_queries=True) if "://" in text else text


@lru_cache(maxsize=4096)
def _redact_text(text: str, here: _Literals) -> str:
    text = _hide_secrets(text, here)
    if "=" in text or ":" in text:
        text = _hide_named(text)
    if "/" in text or "\\" in text:
        text = _mask_path(text) if _WHOLE_PATH.fullmatch(text) else _PATHS.sub(lambda found: _mask_path(found[0]), text)
        for home in here.homes:
            text = text.replace(home, PATH)
    return text if here.hosts is None else here.hosts.sub(HOST, text)


def _redact(value: Any, here: _Literals, names: _Names) -> Any:
    if isinstance(value, _NUMBERS):  # most values of a record: asked first, for speed
        return value
    if isinstance(value, str):
        inner = _parse_json(value)
        return _redact_text(value, here) if inner is None else _dump_redacted(value, inner, here, names)
    if isinstance(value, list | tuple):
        return _redact_items(list(value), here, names)
    if isinstance(value, Mapping):
        found: dict[object, Any] = {}
        for name, inner in value.items():
            shown, is_secret = names.get(name) or _redact_name(name, here, names)
            if is_secret and not isinstance(inner, bool | None) and inner != "":
                found[shown] = SECRET
            else:
                found[shown] = inner if isinstance(inner, _NUMBERS) else _redact(inner, here, names)
        return found
    return value


def _redact_name(name: object, here: _Literals, names: _Names) -> tuple[object, bool]:
    """Return a field's name redacted, and whether its value is a secret; remember a text in `names`."""
    if not isinstance(name, str):
        return name, is_secret_name(str(name))
    return names.setdefault(name, (_redact_text(name, here), is_secret_name(name)))


def _redact_items(values: list[Any], here: _Literals, names: _Names) -> list[Any]:
    """Redact a list. In a command line, `some_key=VALUE` and the word after `--some-key` are secrets."""
    found: list[Any] = []
    for place, value in enumerate(values):
        before = values[place - 1] if place else None
        flag = isinstance(before, str) and before.startswith("-") and "=" not in before and is_secret_name(before)
        name, equals, word = value.partition("=") if isinstance(value, str) else ("", "", "")
        if flag and isinstance(value, str) and not value.startswith("-"):
            found.append(SECRET)
        elif equals and _OPTION.fullmatch(name):
            found.append(f"{name}={SECRET if word and is_secret_name(name) else _redact(word, here, names)}")
        else:
            found.append(_redact(value, here, names))
    return found


def _parse_json(text: str) -> Any:
    """Return the JSON object or list that `text` contains, None if it contains none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _dump_redacted(text: str, inner: Any, here: _Literals, names: _Names) -> str:
    found = _redact(inner, here, names)
    return text if found == inner else json.dumps(found, ensure_ascii=False)


def _collect_texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _collect_texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _collect_texts(inner)]
    return [str(value)]


def _hide_named(text: str, *, only_queries: bool = False) -> str:
    """Replace the values that follow secret names (`api_key=abc`), or only those in the query string of a URL."""
    pieces, done = [], 0
    while (found := _NAMED.search(text, done)) is not None:
        # After another name the search goes on inside its value, which may hold names too: `config: Config(key=abc)`.
        pieces.append(text[done : found.end()])
        done = found.end()
        if not is_secret_name(found["name"]) or (only_queries and text[max(found.start() - 1, 0)] not in "?&"):
            continue
        value = _VALUE.match(text, done)
        if value is not None:
            quote = value[0][0] if value[0][0] in "\"'" else ""
            pieces.append(value[0] if SECRET[:-1] in value[0] else f"{quote}{SECRET}{quote}")
            done = value.end()
    return "".join([*pieces, text[done:]])


def _mask_path(path: str) -> str:
    """Return `(path)/name-1a2b`: the path's last name and four hex digits of its hash. `(path)` for a home folder."""
    plain = path.removeprefix("file://").rstrip(_SEPARATORS)
    if plain == str(find_home()) or _HOME.fullmatch(plain):
        return PATH
    name = re.split(rf"[{_SEPARATORS}]", plain)[-1]
    return f"{PATH}/{name}-{hash_bytes(b'mrb-path ' + plain.encode(errors='replace'))[:4]}"
