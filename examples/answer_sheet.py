"""Grade answers that you already have: rows with `outputs` need no predict function, and nothing is called."""

import evalpoint
from evalpoint.scorers import scorer


@scorer
def exact(outputs, expectations):
    return outputs == expectations["expected_response"]


result = evalpoint.evaluate(
    data=[
        {"inputs": {"question": "2 + 2?"}, "outputs": "4", "expectations": {"expected_response": "4"}},
        {"inputs": {"question": "3 + 3?"}, "outputs": "7", "expectations": {"expected_response": "6"}},
    ],
    scorers=[exact],
    progress=False,
)
print(result.metrics)
print(result.result_df[["row", "state", "exact/value"]].to_string(index=False))
# Output:
# {'exact/mean': 0.5}
#  row state exact/value
#    0    ok        True
#    1    ok       False
