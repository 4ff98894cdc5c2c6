"""Make text from files, users or models (names, paths, samples) safe to show on a terminal."""

from __future__ import annotations

import re

# Characters that control a terminal or make a line look like another one: control characters (C0,
# DEL, C1), line and paragraph separators, changes of the text direction, and lone surrogates.
# Joiners and spaces of other scripts stay, because ordinary texts need them.
_COMMANDS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str, keep: str = "") -> str:
    """The text with a backslash escape for each character that controls a terminal.

    Args:
        text: one line, or several if ``keep`` has the new line.
        keep: characters that stay as they are, such as new lines and tabs.
    """
    return _COMMANDS.sub(lambda m: m[0] if m[0] in keep else repr(m[0])[1:-1], text)
