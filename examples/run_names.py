"""Name a run, give it parameters, and find it again."""

import evalpoint
from evalpoint.scorers import scorer


@scorer
def short(text):
    return len(text) < 20


data = [{"inputs": {"question": "Hi?"}, "outputs": "Hello!"}]

evalpoint.set_experiment("greetings")
evalpoint.evaluate(data, [short], run_name="first", progress=False)

with evalpoint.start_run(run_name="second"):
    evalpoint.log_param("prompt", "v2")
    evalpoint.evaluate(data, [short], progress=False)

found = evalpoint.search_runs(order_by=["attributes.start_time ASC"], output_format="list")
print([(run.info.run_name, run.info.status.value, run.data.params, run.data.metrics["short/mean"]) for run in found])
# Output:
# [('first', 'FINISHED', {}, 1.0), ('second', 'FINISHED', {'prompt': 'v2'}, 1.0)]
