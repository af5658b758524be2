"""Inference parameters for judges: what is given is sent, always."""

import evalpoint
from evalpoint.mocks import MockWorkspace
from evalpoint.scorers import Guidelines

with MockWorkspace() as workspace, workspace.exported():
    judge = workspace.judge("judge")
    result = evalpoint.evaluate(
        data=[{"inputs": {"question": "Hello?"}, "outputs": "Good morning, how may I help you?"}],
        scorers=[
            Guidelines(
                guidelines=["The response must be polite.", "The response must be in English."],
                model="endpoints:/judge",
                inference_params={"temperature": 0.2, "max_tokens": 300},
            )
        ],
        progress=False,
    )

body = judge.requests[0].body
print(result.metrics, body["temperature"], body["max_tokens"])
# Output:
# {'guidelines/mean': 1.0} 0.2 300
