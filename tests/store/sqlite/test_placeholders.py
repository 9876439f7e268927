"""Statements that every Python takes: from 3.14 on, numbered placeholders want a mapping."""

import re
from pathlib import Path

from memsvc.store import sqlite


def test_no_statement_has_a_numbered_placeholder():
    sources = list(Path(sqlite.__file__).parent.glob("*.py"))
    assert len(sources) > 5
    assert [source.name for source in sources if re.search(r"\?\d", source.read_text(encoding="utf-8"))] == []
