"""The demonstration: realistic rows, an agent that is mostly right, and reasons for where it is not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import requests

from evalpoint.entities import SpanType, Trace
from evalpoint.mocks import JudgePrompt, correctness_rule, demo_agent, demo_rows, demo_workspace, guidelines_rule

ROWS = demo_rows()


def question(row: dict[str, Any]) -> str:
    return row["inputs"]["messages"][0]["content"]


def verdicts(row: dict[str, Any]) -> tuple[str, str]:
    """What the mock judge says of the agent's answer: correctness, and tone."""
    facts = "\n".join(f"{number}. {fact}" for number, fact in enumerate(row["expectations"]["expected_facts"], 1))
    fields = {"answer": demo_agent(question(row)).text or "", "reference": facts, "guideline": "1. Be professional."}
    prompt = JudgePrompt(name="", fields=fields, text="")
    right, tone = correctness_rule(prompt), guidelines_rule()(prompt)
    assert right is not None
    assert isinstance(tone, tuple)
    return right[0], tone[0]


def test_rows() -> None:
    """At least 44 different questions over several topics, each with one to three short facts."""
    assert len(ROWS) >= 44
    assert len({question(row) for row in ROWS}) == len(ROWS)
    assert len({row["tags"]["topic"] for row in ROWS}) >= 8
    for row in ROWS:
        assert set(row) == {"inputs", "expectations", "tags"}
        assert [message["role"] for message in row["inputs"]["messages"]] == ["user"]
        facts = row["expectations"]["expected_facts"]
        assert 1 <= len(facts) <= 3
        assert all(0 < len(fact) <= 80 for fact in facts)


def test_quality() -> None:
    """Three quarters or more of the answers are right, not all; a few are off-tone; some are right and off-tone."""
    counts = Counter(verdicts(row) for row in ROWS)
    right = sum(n for (correct, _), n in counts.items() if correct == "yes") / len(ROWS)
    polite = sum(n for (_, tone), n in counts.items() if tone == "yes") / len(ROWS)
    assert 0.75 <= right <= 0.88
    assert 0.85 <= polite <= 0.96
    assert counts["yes", "no"] >= 2


@pytest.mark.parametrize(
    ("asked", "sign"),
    [
        ("I bought the machine in your web shop. How long can I send the purchase back?", "14 days"),
        ("Can the brewing unit go into the dishwasher?", "may not"),
        ("How should I store my coffee beans?", "Dude"),
        ("Does the Duo work with oat milk?", "two boilers"),
        ("Do you offer barista courses in Lisbon?", "does not cover this"),
    ],
    ids=["stale-page", "missing-fact", "off-tone", "invented", "not-covered"],
)
def test_reasons(asked: str, sign: str) -> None:
    """Each way to fail is there, and so is saying that the handbook has no answer."""
    assert any(question(row) == asked for row in ROWS)
    assert sign in (demo_agent(asked).text or "")


def test_deterministic() -> None:
    """The same question has the same answer, spans and all."""
    assert demo_agent("How long is the warranty on my machine?") == demo_agent("How long is the warranty on my machine?")


@pytest.mark.parametrize("asked", ["", "???", "zzz", "the of and"], ids=["empty", "signs", "unknown", "stop-words"])
def test_odd_questions(asked: str) -> None:
    """Whatever is asked, the agent answers."""
    assert "does not cover this" in (demo_agent(asked).text or "")


def test_over_http() -> None:
    """The demo workspace has the agent, whose traces show what it found and wrote, and the judge."""
    with demo_workspace() as workspace, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {workspace.token}"
        listed = session.get(f"{workspace.url}/api/2.0/serving-endpoints", timeout=10).json()["endpoints"]
        assert [endpoint["name"] for endpoint in listed] == ["support-agent", "judge"]
        body = {**ROWS[0]["inputs"], "databricks_options": {"return_trace": True}}
        reply = session.post(f"{workspace.url}/serving-endpoints/support-agent/invocations", json=body, timeout=10)
        trace = Trace.from_dict(reply.json()["databricks_output"]["trace"])
        assert reply.elapsed.total_seconds() > 0.02
    assert [span.span_type for span in trace.data.spans] == ["AGENT", "RETRIEVER", "CHAT_MODEL"]
    (retriever,) = trace.search_spans(span_type=SpanType.RETRIEVER)
    assert {"page_content", "metadata", "id"} == set(retriever.outputs[0])
    assert retriever.outputs[0]["metadata"]["doc_uri"] == "handbook/returns.md"
    assert retriever.outputs[0]["metadata"]["score"] >= retriever.outputs[1]["metadata"]["score"]
    assert trace.info.token_usage is not None
