"""An async predict function: all rows share one event loop, so a client or a lock made once serves them all."""

import asyncio

import evalpoint
from evalpoint.scorers import scorer

gate = asyncio.Semaphore(5)


async def answer(question: str) -> str:
    async with gate:
        await asyncio.sleep(0.01)
        return f"You asked: {question}"


@scorer
async def echoes(inputs, outputs):
    return inputs["question"] in outputs


result = evalpoint.evaluate(
    data=[{"inputs": {"question": f"Question {i}"}} for i in range(20)],
    predict_fn=answer,
    scorers=[echoes],
    progress=False,
)
print(len(result), result.metrics)
# Output:
# 20 {'echoes/mean': 1.0}
