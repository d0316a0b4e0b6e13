"""What must not be published: paths, addresses, host names and keys.

The writer replaces them, the reader refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mrb._util.redact import API_KEY, PATH, SECRET, is_secret_name, redact

ADDRESS = "(address)"

_START = r"""(^|[\s=:,;"'(\[])"""
_PATHS = re.compile(
    # A path's beginning, if something follows ("yes / no" is no path), or more than one slash in one word.
    rf"{_START}(~|\.{{0,2}}[/\\]|[A-Za-z]:[\\/])[^\s,]|\\|(?<![^\s=])[^\s/]+/[^\s/]+/|file:",
    re.IGNORECASE,
)
_ADDRESSES = re.compile(
    r"(?<!\w)(?!hf:)[a-z][a-z0-9+.-]*://|\blocalhost\b|\b\d{1,3}(\.\d{1,3}){3}\b|\w@\w", re.IGNORECASE
)
_HUB = re.compile(r"hf://[\w.@/-]+", re.ASCII)  # an address on the Hub is public
_KEYS = re.compile(
    rf"{API_KEY}"
    # Long, with lower-case and upper-case letters and digits: no word, no version, no hexadecimal hash.
    r"|(?<![A-Za-z0-9+/])(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*[0-9])[A-Za-z0-9+/]{32,}"
)
_DROPPED = ("--out", "--name")
_SYSTEM = re.compile(r"(\w+ \d+(\.\d+)?).*", re.DOTALL)
_PERSONAL = re.compile(r".*(host|node|user|home|cwd|folder|path|login|mail).*", re.IGNORECASE)


def find_private_text(text: str) -> str | None:
    """Return what private content `text` holds, in words; None if none is found."""
    if _KEYS.search(text):
        return "something that looks like a key"
    if _ADDRESSES.search(text):
        return "an address or host name"
    return "a path" if _has_path(text) else None


def clean_text(text: str, hosts: Sequence[str] = ()) -> str:
    """Return `text`, or a placeholder if it is private or names one of `hosts`."""
    if text.startswith(PATH):
        return PATH
    if _KEYS.search(text):
        return SECRET
    named = any(re.search(rf"(?<![A-Za-z0-9]){re.escape(host)}(?![A-Za-z0-9])", text) for host in hosts if host)
    if named or _ADDRESSES.search(text):
        return ADDRESS
    return PATH if _has_path(text) else text


def clean_options(options: Mapping[str, object], hosts: Sequence[str]) -> dict[str, object]:
    """Return a reranker's options with private values replaced."""
    return {name: _clean_value(name, value, hosts) for name, value in options.items()}


def clean_command(words: Sequence[str], hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the command with private values replaced, and without the options that name its output folder."""
    found: list[str] = []
    waiting = ""
    for word in words:
        name, equals, value = word.partition("=")
        if waiting in _DROPPED:
            waiting = ""
        elif name in _DROPPED:
            waiting = "" if equals else name
        elif is_secret_name(waiting) and not word.startswith("-"):
            found.append(SECRET)
            waiting = ""
        else:
            found.append(
                f"{clean_text(name, hosts)}={_clean_value(name, value, hosts)}" if equals else clean_text(word, hosts)
            )
            waiting = word if word.startswith("-") and not equals else ""
    return tuple(found)


def clean_environment(environment: Mapping[str, str], hosts: Sequence[str]) -> dict[str, str]:
    """Return the environment without entries that identify a machine or a person.

    Of the operating system only name and version are kept.
    """
    kept = {name: clean_text(value, hosts) for name, value in environment.items() if not _PERSONAL.fullmatch(name)}
    if "system" in kept:
        kept["system"] = _SYSTEM.sub(r"\1", kept["system"])
    return kept


def is_personal_name(name: str) -> bool:
    """Return whether an environment entry of this name would identify a machine or a person."""
    return _PERSONAL.fullmatch(name) is not None


def _has_path(text: str) -> bool:
    return _PATHS.search(_HUB.sub("", text)) is not None


def _clean_value(name: str, value: object, hosts: Sequence[str]) -> object:
    public = redact({name: value})[name]
    return clean_text(public, hosts) if isinstance(public, str) else public
