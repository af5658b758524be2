"""Evaluate a serving endpoint with two judges.

Here a mock workspace stands in for a real one; with a real one, leave it out and set DATABRICKS_HOST and DATABRICKS_TOKEN.
"""

import evalpoint
from evalpoint.mocks import MockWorkspace
from evalpoint.scorers import Correctness, Guidelines

with MockWorkspace() as workspace, workspace.exported():
    workspace.agent("chat", dialect="chat_agent", answers={"What is MLflow?": "MLflow is open source and manages the ML lifecycle."})
    workspace.judge("judge")

    evalpoint.set_experiment("/Shared/support-bot")
    result = evalpoint.evaluate(
        data=[
            {
                "inputs": {"messages": [{"role": "user", "content": "What is MLflow?"}]},
                "expectations": {"expected_facts": ["open source", "manages the ML lifecycle"]},
            }
        ],
        predict_fn=evalpoint.to_predict_fn("endpoints:/chat"),
        scorers=[
            Correctness(model="endpoints:/judge", threshold=0.9),
            Guidelines(name="tone", guidelines="The response must be professional.", model="endpoints:/judge"),
        ],
        progress=False,
    )

print(result.metrics)
print(result.verdict)
print([span.span_type for span in evalpoint.get_trace(result.result_df["trace_id"][0]).data.spans])
# Output:
# {'correctness/mean': 1.0, 'tone/mean': 1.0}
# passed
# ['AGENT', 'RETRIEVER', 'CHAT_MODEL']
