"""Test your own evaluation: a mock workspace on loopback, with an endpoint that fails now and then."""

import evalpoint
from evalpoint.mocks import MockWorkspace, fault
from evalpoint.scorers import scorer


@scorer(threshold=0.8)
def polite(text):
    return "please" in text.lower()


def evaluate_bot(name):
    return evalpoint.evaluate(
        data=[{"inputs": {"question": f"How do I return order {i}?"}} for i in range(10)],
        predict_fn=evalpoint.to_predict_fn(f"endpoints:/{name}"),
        scorers=[polite],
        max_retries=2,
        progress=False,
    )


def test_a_polite_bot_passes():
    with MockWorkspace() as workspace, workspace.exported():
        bot = workspace.agent("bot", answers=lambda question: f"Please send it back. ({question})")
        result = evaluate_bot("bot")
    assert result.check().metrics == {"polite/mean": 1.0}
    assert bot.calls == 10


def test_a_refused_row_is_counted_and_not_scored():
    with MockWorkspace() as workspace, workspace.exported():
        workspace.agent("bot", answers="Please wait.", faults=[fault.status(400, message="no such order")])
        result = evaluate_bot("bot")
    assert result.states == {"ok": 9, "target_error": 1}
    assert result.verdict == "inconclusive"


test_a_polite_bot_passes()
test_a_refused_row_is_counted_and_not_scored()
print("both tests passed")
# Output:
# both tests passed
