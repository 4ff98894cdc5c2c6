"""Text that comes from outside, such as a name, a path or a sample, as a terminal may show it."""

from __future__ import annotations

import re

# What commands a terminal, or makes a line look like another one: control characters (C0, DEL, C1),
# line and paragraph separators, what turns the direction of the text, and halves of characters.
# Joiners and spaces of other scripts stay: texts are made of them.
_COMMANDS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str, keep: str = "") -> str:
    """The text with a backslash escape in place of each character that commands a terminal.

    Args:
        text: one line; or several, where ``keep`` says so.
        keep: characters that stay as they are: new lines and tabs, say.
    """
    return _COMMANDS.sub(lambda m: m[0] if m[0] in keep else repr(m[0])[1:-1], text)
