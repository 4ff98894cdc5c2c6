"""Data: corpora, the tokenizer, batches, and the statistics of a text."""

from .batches import RandomWindows, Splits, held_out_batches, split_corpus
from .corpora import Corpus, identity, load_again, load_corpus, provenance
from .errors import DataError
from .places import name_of as corpus_name
from .public_corpora import DEFAULT_CORPUS, FALLBACK_CORPUS, KNOWN_CORPORA, KnownCorpus, KnownFile
from .statistics import bigram_entropy, unigram_entropy
from .streams import ContiguousStreams, document_starts
from .tokenizer import CharTokenizer

__all__ = [
    "DEFAULT_CORPUS",
    "FALLBACK_CORPUS",
    "KNOWN_CORPORA",
    "CharTokenizer",
    "ContiguousStreams",
    "Corpus",
    "DataError",
    "KnownCorpus",
    "KnownFile",
    "RandomWindows",
    "Splits",
    "bigram_entropy",
    "corpus_name",
    "document_starts",
    "held_out_batches",
    "identity",
    "load_again",
    "load_corpus",
    "provenance",
    "split_corpus",
    "unigram_entropy",
]
