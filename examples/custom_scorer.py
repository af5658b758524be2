"""Scorers of your own: a function names the parts of a row that it needs; a class has arguments."""

import evalpoint
from evalpoint import Feedback, Scorer, scorer


@scorer(threshold=0.5)
def mentions_docs(text):
    return "docs" in text


@scorer(aggregations=["mean", "max"], pass_if=lambda words: words <= 8)
def words(text):
    return len(text.split())


class Contains(Scorer):
    phrase: str

    def __call__(self, *, text: str) -> Feedback:
        found = self.phrase in text
        return Feedback(value=found, rationale=f"{self.phrase!r} is {'there' if found else 'missing'}")


result = evalpoint.evaluate(
    data=[
        {"inputs": {"question": "Where is it written?"}, "outputs": "It is in the docs."},
        {"inputs": {"question": "Is it fast?"}, "outputs": "Yes."},
    ],
    scorers=[mentions_docs, words, Contains(name="says_yes", phrase="Yes")],
    progress=False,
)
print(result.metrics)
print(result.verdict)
print(result.result_df["says_yes/rationale"].tolist())
# Output:
# {'mentions_docs/mean': 0.5, 'words/mean': 3.0, 'words/max': 5.0, 'says_yes/mean': 0.5}
# passed
# ["'Yes' is missing", "'Yes' is there"]
