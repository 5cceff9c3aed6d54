"""The glossary names the file that owns each word, and that file uses the word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
GLOSSARY = (CHECKOUT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([^`|]+)` \|$", GLOSSARY, re.MULTILINE)


@pytest.mark.parametrize(("word", "meaning", "owner"), ROWS, ids=[row[0] for row in ROWS])
def test_the_owner_uses_the_word(word: str, meaning: str, owner: str) -> None:
    text = (CHECKOUT / owner).read_text(encoding="utf-8").lower()
    said = re.sub(r" \(.*\)", "", word).lower()
    assert said in text or said.replace(" ", "_") in text


def test_words_are_there_once() -> None:
    words = [word for word, _, _ in ROWS]
    assert len(words) > 20 and len(set(words)) == len(words)
