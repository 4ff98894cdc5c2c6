"""Data: corpora, the tokenizer, batches, and the statistics of a text.

>>> corpus = tt.data.load_corpus("python-reference")
>>> tokenizer = tt.data.CharTokenizer.from_text(corpus.text)
>>> splits = tt.data.split_corpus(corpus, tokenizer, context=64)
>>> windows = tt.data.RandomWindows(splits.train, batch_size=2, context=64, seed=0)
>>> x, y = windows.batch(0)
>>> x.shape, bool((x[:, 1:] == y[:, :-1]).all())
((2, 64), True)
"""

from .batches import RandomWindows, Splits, held_out_batches, split_corpus
from .corpora import Corpus, identity, load_again, load_corpus, provenance
from .errors import DataError
from .locations import name_of as corpus_name
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
