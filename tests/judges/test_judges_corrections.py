"""A parameter of ours that a model refuses is dropped, once; the caller's own parameters never are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from evalpoint.calls import account
from evalpoint.errors import Broken, Rejected
from evalpoint.judges.corrections import Request, send_corrected
from evalpoint.judges.models import Completion

SCHEMA = {"type": "object"}


class Picky:
    """Refuses some parameters, each in its own words."""

    def __init__(self, refusals: dict[str, str], status: int = 400) -> None:
        self.refusals = refusals
        self.status = status
        self.bodies: list[Mapping[str, Any]] = []

    def __call__(self, body: Mapping[str, Any]) -> Completion:
        self.bodies.append(body)
        for name, words in self.refusals.items():
            if name in body:
                raise Rejected(words, status=self.status)
        return Completion(text="ok")


def test_defaults() -> None:
    """Temperature 0 and the answer's schema, unless the caller says otherwise; None leaves a parameter out."""
    assert Request.of(SCHEMA, {}).optional.keys() == {"temperature", "response_format"}
    assert Request.of(None, {}).optional == {"temperature": 0}
    asked = Request.of(SCHEMA, {"temperature": None, "max_tokens": 9})
    assert asked.required == {"max_tokens": 9}
    assert asked.optional.keys() == {"response_format"}


def test_both_dropped_and_remembered() -> None:
    """Each refused parameter is dropped once, counted, and not sent again by this model."""
    model = Picky({"temperature": "Unsupported value: 'temperature'", "response_format": "unknown field json_schema"})
    dropped: set[str] = set()
    with account() as used:
        assert send_corrected(Request.of(SCHEMA, {"top_p": 1}), dropped, model).text == "ok"
        assert [sorted(body) for body in model.bodies] == [
            ["response_format", "temperature", "top_p"],
            ["response_format", "top_p"],
            ["top_p"],
        ]
        send_corrected(Request.of(SCHEMA, {"top_p": 1}), dropped, model)
    assert len(model.bodies) == 4
    assert used.corrections == 2


@pytest.mark.parametrize(
    ("model", "params"),
    [
        (Picky({"temperature": "temperature must be 1"}), {"temperature": 0.5}),
        (Picky({"response_format": "no response_format here"}), {"response_format": {"type": "json_object"}}),
        (Picky({"max_tokens": "max_tokens is too large"}), {"max_tokens": 10**9}),
        (Picky({"temperature": "the endpoint 'temperature' does not exist"}, status=404), {}),
        (Picky({"temperature": "the prompt is too long"}), {}),
    ],
    ids=["the caller's temperature", "the caller's format", "the caller's max_tokens", "another status", "another reason"],
)
def test_refused_for_good(model: Picky, params: dict[str, Any]) -> None:
    """What is not about a parameter of ours is final, at once."""
    with pytest.raises(Rejected):
        send_corrected(Request.of(SCHEMA, params), set(), model)
    assert len(model.bodies) == 1


def test_remembers_only_what_helped() -> None:
    """A refusal that merely quotes the word teaches nothing: the same failure without the parameter leaves it in for the next row."""

    def send(body: Mapping[str, Any]) -> Completion:
        raise Rejected("this question about the temperature in Rome is not allowed", status=400)

    dropped: set[str] = set()
    with pytest.raises(Rejected):
        send_corrected(Request.of(None, {}), dropped, send)
    assert dropped == set()


def test_other_errors_pass() -> None:
    """Only a refusal is corrected."""

    def send(body: Mapping[str, Any]) -> Completion:
        raise Broken("temperature", status=500)

    with pytest.raises(Broken):
        send_corrected(Request.of(None, {}), set(), send)
