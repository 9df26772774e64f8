"""Realistic flow and DNS lines from a seed, for `flowd bench`, demonstrations and tests.

`generate(form, lines, seed, cardinality)` yields chunks of whole lines, one chunk a flush. Nothing here imports
anything else of flowd. What is assumed of a cluster stands in bench/README.md.
"""

from flowd.corpus.forms import FORMS, JSON_FORMS, TEXT_FORMS
from flowd.corpus.lines import Cardinality, generate

__all__ = ["FORMS", "JSON_FORMS", "TEXT_FORMS", "Cardinality", "generate"]
