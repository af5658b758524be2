"""Set how many rows are in work at a time, and how many scorers of a row."""

import threading
import time

import evalpoint
from evalpoint.scorers import scorer

lock = threading.Lock()
at_once, most = 0, 0


def answer(question: str) -> str:
    global at_once, most
    with lock:
        at_once += 1
        most = max(most, at_once)
    time.sleep(0.02)
    with lock:
        at_once -= 1
    return question.upper()


@scorer
def upper(text):
    return text.isupper()


result = evalpoint.evaluate(
    data=({"inputs": {"question": f"row {i}"}} for i in range(40)),
    predict_fn=answer,
    scorers=[upper],
    max_workers=4,  # or MLFLOW_GENAI_EVAL_MAX_WORKERS
    max_scorer_workers=1,  # or MLFLOW_GENAI_EVAL_MAX_SCORER_WORKERS
    progress=False,
)
print(len(result), most)
# Output:
# 40 4
