"""The public corpora that are known by name: where their files are, and what bytes they must be.

``data/NAME/manifest.json`` in the repository holds the same facts, and where each is from.

>>> from tinytape.data.public_corpora import KNOWN_CORPORA
>>> corpus = KNOWN_CORPORA["shakespeare"]
>>> corpus.wanted, corpus.in_parts
(['input.txt'], False)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_CORPUS = "shakespeare"
FALLBACK_CORPUS = "python-reference"


@dataclass(frozen=True)
class KnownFile:
    """The size and the SHA-256 of a file of a public corpus."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class KnownCorpus:
    """The name, address and files of a public corpus.

    ``address`` is that of the folder that holds ``files``: ``input.txt`` alone, or ``train.txt``,
    ``valid.txt`` and ``test.txt`` in this order.
    """

    name: str
    address: str
    files: Mapping[str, KnownFile]

    @property
    def in_parts(self) -> bool:
        """Whether the text comes as training, validation and test texts."""
        return len(self.files) > 1

    @property
    def wanted(self) -> list[str]:
        """The files that a run reads: the whole text, or the part to train on and the next."""
        return list(self.files)[:2]

    def url(self, file: str) -> str:
        """The address of one of the files."""
        return f"{self.address}/{file}"


KNOWN_CORPORA = {
    "shakespeare": KnownCorpus(
        name="shakespeare",
        address="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",
        files={
            "input.txt": KnownFile(
                bytes=1_115_394,
                sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
        },
    ),
    "wikitext-2": KnownCorpus(
        name="wikitext-2",
        address="https://raw.githubusercontent.com/pytorch/examples/"
        "acc295dc7b90714f1bf47f06004fc19a7fe235c4/word_language_model/data/wikitext-2",
        files={
            "train.txt": KnownFile(
                bytes=10_797_148,
                sha256="9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
            ),
            "valid.txt": KnownFile(
                bytes=1_121_681,
                sha256="f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            ),
            "test.txt": KnownFile(
                bytes=1_256_449,
                sha256="d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            ),
        },
    ),
}
