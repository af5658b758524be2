"""The demonstration: a support agent of an invented maker of coffee machines, its handbook, questions, and a judge.

The agent is small and real: it ranks documents and sentences by BM25 and answers with the best sentences. It errs as
such agents do: an old edition of a page outranks the new one, a fact stands in a sentence that was not picked, and a
page copied from a forum lends its tone.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from evalpoint.mocks.answers import Answer, MockSpan, Usage, tokens
from evalpoint.mocks.judge import significant_words
from evalpoint.mocks.workspace import MockWorkspace

__all__ = ["demo_agent", "demo_rows", "demo_workspace"]

AGENT = "support-agent"
JUDGE = "judge"
MODEL = "kaffenia-writer"
DOCUMENTS = 3
SENTENCES = 2
ENOUGH = 3.2
"""The score below which the best sentence is taken to say nothing about the question."""
SATURATION, LENGTH_WEIGHT = 1.5, 0.75
INSTRUCTIONS = "You answer customers of Kaffenia. Use only the passages of the support handbook that you are given. Be brief and polite."
NOTHING_FOUND = "I am sorry, the handbook does not cover this. Please contact our support team at help@kaffenia.example."
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One page of the handbook."""

    id: str
    title: str
    doc_uri: str
    updated: str
    text: str


class Ranking:
    """BM25 over a fixed list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [Counter(_stems(text)) for text in texts]
        self._lengths = [sum(words.values()) for words in self._words]
        self._mean = sum(self._lengths) / len(self._lengths)
        seen = Counter(word for words in self._words for word in words)
        self._rarity = {word: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for word, n in seen.items()}

    def scores(self, query: str) -> list[float]:
        """One score for each text, in order."""
        wanted = sorted(significant_words(query))
        return [sum(self._score(word, words, length) for word in wanted) for words, length in zip(self._words, self._lengths, strict=True)]

    def _score(self, word: str, words: Counter[str], length: int) -> float:
        count = words[word]
        size = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / self._mean
        return self._rarity.get(word, 0.0) * count * (SATURATION + 1) / (count + SATURATION * size) if count else 0.0


def _stems(text: str) -> list[str]:
    """The significant words of a text, repeated ones as often as they occur."""
    return [stem for word in text.split() for stem in significant_words(word)]


@dataclass(frozen=True, slots=True)
class Passage:
    """One sentence, and the number of the document that it is from."""

    document: int
    text: str


@dataclass(frozen=True, slots=True)
class Handbook:
    """The documents with their rankings."""

    documents: tuple[Document, ...]
    by_document: Ranking
    passages: tuple[Passage, ...]
    by_passage: Ranking

    def retrieve(self, question: str) -> list[tuple[int, float]]:
        """The numbers and scores of the best documents, the best first."""
        scores = self.by_document.scores(question)
        best = sorted(range(len(scores)), key=lambda number: (-scores[number], number))[:DOCUMENTS]
        return [(number, scores[number]) for number in best if scores[number] > 0]

    def sentences(self, question: str, documents: Sequence[int]) -> list[str]:
        """The best sentences of these documents; none where none is good enough."""
        scored = [(s, number) for number, s in enumerate(self.by_passage.scores(question)) if self.passages[number].document in documents]
        best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:SENTENCES]
        if not best or best[0][0] < ENOUGH:
            return []
        return [self.passages[number].text for score, number in best if score >= best[0][0] / 2]


@lru_cache(maxsize=1)
def _handbook() -> Handbook:
    documents = tuple(Document(**fields) for fields in json.loads(_data("documents.json")))
    passages = tuple(Passage(n, sentence) for n, document in enumerate(documents) for sentence in SENTENCE_END.split(document.text))
    by_document = Ranking([f"{document.title}. {document.text}" for document in documents])
    return Handbook(documents, by_document, passages, Ranking([passage.text for passage in passages]))


def _data(name: str) -> str:
    return (files("evalpoint.mocks") / "demo_data" / name).read_text(encoding="utf-8")


def demo_rows() -> list[dict[str, Any]]:
    """The questions, with the facts that a good answer states and a topic, as rows to evaluate."""
    return [json.loads(line) for line in _data("questions.jsonl").splitlines()]


def demo_agent(question: str) -> Answer:
    """The agent's answer to a question. The same question has the same answer."""
    handbook = _handbook()
    found = handbook.retrieve(question)
    sentences = handbook.sentences(question, [number for number, _ in found])
    text = " ".join(sentences) if sentences else NOTHING_FOUND
    documents = [_shown(handbook.documents[number], score) for number, score in found]
    instructions = INSTRUCTIONS + "\n\nPassages:\n" + "\n\n".join(handbook.documents[number].text for number, _ in found)
    messages = [{"role": "system", "content": instructions}, {"role": "user", "content": question}]
    usage = Usage(tokens(instructions) + tokens(question), tokens(text))
    completion = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    spans = (
        MockSpan(name="search_handbook", span_type="RETRIEVER", inputs={"query": question}, outputs=documents),
        MockSpan(
            name="write_answer",
            span_type="CHAT_MODEL",
            inputs={"model": MODEL, "messages": messages, "temperature": 0},
            outputs=completion,
            usage=usage,
            model=MODEL,
        ),
    )
    return Answer(text, spans=spans, usage=usage, latency=0.03 + zlib.crc32(question.encode()) % 50 / 1000)


def _shown(document: Document, score: float) -> dict[str, Any]:
    """A retrieved document, as RETRIEVER spans have it."""
    metadata = {"doc_uri": document.doc_uri, "score": round(score, 3), "updated": document.updated}
    return {"page_content": document.text, "metadata": metadata, "id": document.id}


def demo_workspace(agent: Callable[[str], Any] = demo_agent, *, port: int = 0) -> MockWorkspace:
    """A workspace with the endpoints `support-agent` and `judge`; start it with `with`."""
    workspace = MockWorkspace(port=port)
    workspace.agent(AGENT, agent, dialect="chat_agent")
    workspace.judge(JUDGE, latency=0.01)
    return workspace
