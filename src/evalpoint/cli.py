"""The street door: flags and config files -> arguments; prints what came out; exit codes.

Exit codes: 0 passed or ungated, 1 failed, 2 inconclusive, 3 could not run, 130 interrupted.
"""

# Optional, and no `from __future__ import annotations`: typer before 0.12.4 reads neither `str | None` nor annotations that are text.
# ruff: noqa: UP045
import contextlib
import json
import os
import platform
import sys
import traceback
from collections.abc import Generator, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import evalpoint
from evalpoint.errors import EvalpointError, StoreError, UsageError
from evalpoint.formats.plain import dump_json

if TYPE_CHECKING:
    from evalpoint.result import EvaluationResult

__all__ = ["app", "main"]

CODES = {"passed": 0, "ungated": 0, "failed": 1, "inconclusive": 2}
COULD_NOT_RUN = 3
INTERRUPTED = 130
DEMO_GUIDELINE = "The response must be polite and professional, without slang."

app = typer.Typer(
    name="evalpoint",
    help="Evaluate deployed model-serving endpoints. Exit codes: 0 passed or ungated, 1 failed, 2 inconclusive, 3 could not run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class _Done(Exception):
    """A command is done with this exit code; click's own code for wrong usage, 2, means something else here."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="evalpoint")
    except _Done as done:
        sys.exit(done.code)
    except EvalpointError as error:
        print(f"evalpoint: {error}", file=sys.stderr)
        sys.exit(COULD_NOT_RUN)
    except SystemExit as left:
        sys.exit(COULD_NOT_RUN if left.code == 2 else left.code)  # click exits with 2 when the usage is wrong
    except Exception:  # noqa: BLE001 - whatever it is, it is no verdict: code 1 would say that quality is too low
        traceback.print_exc()
        sys.exit(COULD_NOT_RUN)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"evalpoint {evalpoint.__version__}")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction] - typer calls it
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Options of the command itself."""


StoreOption = Annotated[Optional[str], typer.Option("--store", help="The store: a path or sqlite:///file. Default: evalpoint.db here.")]


@app.command()
def demo(
    store: StoreOption = None,
    rows: Annotated[Optional[int], typer.Option(min=1, help="Only the first so many questions.")] = None,
) -> None:
    """Evaluate a small support agent on a mock workspace, offline, over real HTTP."""
    try:
        from evalpoint.mocks.demo import demo_rows, demo_workspace
    except ImportError as error:
        raise error if isinstance(error, EvalpointError) else _missing_ui(error) from error
    from evalpoint.scorers import Correctness, Guidelines

    console = Console()
    with _using(store, experiment="/Shared/evalpoint-demo"), demo_workspace() as workspace, workspace.exported():
        console.print(f"A mock workspace answers on {workspace.url}; nothing leaves this machine.", highlight=False)
        console.print(f"Results go to {evalpoint.get_tracking_uri()}\n", highlight=False, soft_wrap=True)
        result = evalpoint.evaluate(
            data=demo_rows()[:rows],
            predict_fn=evalpoint.to_predict_fn("endpoints:/support-agent"),
            scorers=[
                Correctness(model="endpoints:/judge", threshold=0.8),
                Guidelines(
                    name="tone",
                    model="endpoints:/judge",
                    threshold=0.9,
                    guidelines=DEMO_GUIDELINE,
                ),
            ],
            run_name="demo",
            dataset_name="support questions",
        )
        _print_result(console, result)


def _missing_ui(error: ImportError) -> EvalpointError:
    from evalpoint.errors import MissingExtra

    if (error.name or "").split(".")[0] not in ("starlette", "uvicorn"):
        raise error
    return MissingExtra("The demo's mock workspace", "ui")


@app.command()
def mock(
    config: Annotated[
        Optional[Path], typer.Argument(help="A YAML file of endpoints; without it the demo's, a support agent and a judge.")
    ] = None,
    port: Annotated[
        Optional[int], typer.Option(min=0, max=65535, help="Where it listens on 127.0.0.1. Default: any port that is free.")
    ] = None,
) -> None:
    """Serve a mock workspace until Ctrl-C, and print the variables that make every client find it."""
    from evalpoint.mocks.serving import mock_of, serve

    serve(mock_of(config, port=port), lambda line: print(line, flush=True))


@app.command()
def doctor(
    uri: Annotated[str, typer.Argument(help="endpoints:/NAME, apps:/NAME or https://…")],
    profile: Annotated[Optional[str], typer.Option(help="The profile of ~/.databrickscfg that names the workspace.")] = None,
    judge: Annotated[Optional[str], typer.Option(help="The judge's model, such as endpoints:/judge or openai:/gpt-4.1-mini.")] = None,
    question: Annotated[Optional[str], typer.Option(help="What the endpoint is asked, once.")] = None,
    kind: Annotated[Optional[str], typer.Option(help="What it serves, such as agent/v1/responses, where you may not see that.")] = None,
) -> None:
    """Check all that an evaluation needs: access, endpoint, one call, its trace, the judge, the store. Exits with 1 when a check fails."""
    from evalpoint import doctor as examination

    checks = examination.examine(uri, workspace=profile, judge=judge, question=question or examination.QUESTION, kind=kind)
    print(
        f"evalpoint {evalpoint.__version__}, Python {platform.python_version()}, databricks-sdk {metadata.version('databricks-sdk')}",
        flush=True,
    )
    done: list[examination.Check] = []
    for check in checks:
        print(f"{check.state.value:<9}  {check.name:<8}  {check.text}{f' -> {check.todo}' if check.todo else ''}", flush=True)
        done.append(check)
    raise _Done(examination.exit_code(done))


@app.command()
def run(
    config: Annotated[Optional[Path], typer.Option(help="A YAML file with the long names of these options as keys; flags win.")] = None,
    endpoint: Annotated[Optional[str], typer.Option(help="endpoints:/NAME. Without it the data's own outputs are graded.")] = None,
    data: Annotated[Optional[str], typer.Option(help="JSONL, JSON, CSV or Parquet.")] = None,
    scorer: Annotated[
        Optional[list[str]],
        typer.Option(help="correctness | NAME=guidelines: TEXT | guidelines: TEXT | FILE.py:NAME | MODULE:NAME. Repeatable."),
    ] = None,
    threshold: Annotated[Optional[list[str]], typer.Option(help="SCORER=VALUE: a gate on the scorer's mean. Repeatable.")] = None,
    run_name: Annotated[Optional[str], typer.Option(help="The run's name.")] = None,
    resume: Annotated[
        Optional[str],
        typer.Option(
            help="Go on with a run: its id or name, 'last', or 'auto' for the newest unfinished one of this kind or else a new one."
        ),
    ] = None,
    experiment: Annotated[Optional[str], typer.Option(help="The experiment; by default MLFLOW_EXPERIMENT_NAME or Default.")] = None,
    judge_model: Annotated[Optional[str], typer.Option(help="Such as endpoints:/judge or openai:/gpt-4.1-mini.")] = None,
    profile: Annotated[Optional[str], typer.Option(help="The profile of ~/.databrickscfg that names the workspace.")] = None,
    max_workers: Annotated[Optional[int], typer.Option(help="Rows at a time. Default 10.")] = None,
    repeats: Annotated[Optional[int], typer.Option(help="How often each row is asked. Default 1.")] = None,
    min_valid: Annotated[Optional[float], typer.Option(help="Share of rows that must have a value. Default 0.95.")] = None,
    output: Annotated[Optional[Path], typer.Option(help="Write every row there: .csv, .jsonl or .parquet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object instead of a table.")] = False,
    progress: Annotated[bool, typer.Option(help="Show progress on standard error.")] = True,
    store: StoreOption = None,
) -> None:
    """Evaluate an endpoint, or answers in a file, and exit with the verdict's code."""
    from evalpoint.scorers.naming import named_scorers

    given = _from_config(
        config,
        endpoint=endpoint, data=data, scorer=scorer, threshold=threshold, run_name=run_name, resume=resume,
        experiment=experiment, judge_model=judge_model, profile=profile, max_workers=max_workers, repeats=repeats, min_valid=min_valid,
        output=str(output) if output else None, store=store,
    )  # fmt: skip
    if not given["data"]:
        raise UsageError("say which data: --data FILE (JSONL, JSON, CSV or Parquet)")
    _check_output(given["output"])
    with _using(given["store"], experiment=given["experiment"]):
        scorers = named_scorers(given["scorer"] or [], thresholds=given["threshold"] or [], workspace=given["profile"])
        predict_fn = evalpoint.to_predict_fn(given["endpoint"], workspace=given["profile"]) if given["endpoint"] else None
        limits: dict[str, Any] = {key: given[key] for key in ("resume", "max_workers", "repeats", "min_valid") if given[key] is not None}
        result = _evaluate(
            data=given["data"], predict_fn=predict_fn, scorers=scorers, run_name=given["run_name"], judge_model=given["judge_model"],
            progress=progress, **limits,
        )  # fmt: skip
        if given["output"]:
            _write_rows(result, Path(given["output"]))
        with _printing():
            if as_json:
                print(json.dumps({"run_id": result.run_id, "run_name": result.run_name, **result.summary.to_dict()}, ensure_ascii=False))
            else:
                _print_result(Console(), result)
    raise _Done(CODES[result.verdict])


def _evaluate(**arguments: Any) -> "EvaluationResult":
    try:
        return evalpoint.evaluate(**arguments)
    except KeyboardInterrupt:
        print("evalpoint: interrupted; what was finished is in the store, see  evalpoint runs", file=sys.stderr)
        raise _Done(INTERRUPTED) from None


@contextlib.contextmanager
def _printing() -> Generator[None]:
    """For output whose reader may leave: `evalpoint run … | head` still ends with the verdict's code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_KEYS: dict[str, type | tuple[type, ...]] = {
    "endpoint": str, "data": str, "scorer": list, "threshold": list, "run_name": str, "resume": str, "experiment": str, "judge_model": str,
    "profile": str, "max_workers": int, "repeats": int, "min_valid": (int, float), "output": str, "store": str,
}  # fmt: skip


def _from_config(path: Path | None, **flags: Any) -> dict[str, Any]:
    """Flags over the config file's values. Keys may be written with dashes, and `scorers` and `thresholds` in the plural."""
    if path is None:
        return flags
    try:
        loaded: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the config file {str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"the config file {str(path)!r} is no YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"the config file {str(path)!r} should hold keys and values, such as  endpoint: endpoints:/chat")
    values: dict[str, Any] = {}
    for key, value in loaded.items():  # pyright: ignore[reportUnknownVariableType] - YAML
        name = {"scorers": "scorer", "thresholds": "threshold"}.get(str(key), str(key).replace("-", "_"))  # pyright: ignore[reportUnknownArgumentType] - YAML
        if name not in _KEYS:
            raise UsageError(f"the config file {str(path)!r} has the unknown key {key!r}; known are {', '.join(_KEYS)}")
        if name == "threshold" and isinstance(value, dict):
            value = [f"{scorer}={number}" for scorer, number in value.items()]  # pyright: ignore[reportUnknownVariableType] - YAML
        if name in ("scorer", "threshold") and isinstance(value, str):
            value = [value]
        if not isinstance(value, _KEYS[name]) or isinstance(value, bool):
            raise UsageError(f"the config file {str(path)!r}: {key} is {value!r}, which is not of the right kind")
        values[name] = value
    # Older versions of typer give an empty list for an option that was not given.
    return {name: flag if flag not in (None, []) else values.get(name) for name, flag in flags.items()}


@app.command()
def runs(
    experiment: Annotated[Optional[str], typer.Option(help="Only the runs of this experiment.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    store: StoreOption = None,
) -> None:
    """List the runs, the newest first."""
    with _using(store, must_exist=True):
        names = [experiment] if experiment else None
        found = evalpoint.search_runs(
            search_all_experiments=experiment is None, experiment_names=names, max_results=limit, output_format="list"
        )
        if not found:
            print("There are no runs.")
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in ("run", "name", "started (UTC)", "status", "verdict"):
            table.add_column(column, no_wrap=column != "name", overflow="fold")
        table.add_column("metrics", overflow="fold")
        for item in found:
            started = datetime.fromtimestamp(item.info.start_time / 1000, timezone.utc)
            means = "  ".join(f"{key} {value:.3g}" for key, value in sorted(item.data.metrics.items()) if key.endswith("/mean"))
            table.add_row(
                item.info.run_id[:8], escape(item.info.run_name), f"{started:%Y-%m-%d %H:%M}",
                "INTERRUPTED" if item.interrupted else item.info.status.value,
                item.data.tags.get("evalpoint.verdict", "–"), escape(means),
            )  # fmt: skip
        Console().print(table)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of one, or its name.")],
    rows: Annotated[int, typer.Option(min=0, help="How many of the worst rows to show.")] = 5,
    output: Annotated[Optional[Path], typer.Option(help="Write every row there: .csv, .jsonl or .parquet.")] = None,
    store: StoreOption = None,
) -> None:
    """Show one run: figures, failures and the worst rows."""
    from evalpoint.evaluation import results_of

    _check_output(str(output) if output else None)
    with _using(store, must_exist=True):
        results = results_of(run)
        if not results:
            print("This run has no evaluation.")
        if output and results:
            _write_rows(results[-1], output)
        with _printing():
            found = evalpoint.get_run(run)
            if found.interrupted:
                print(f"INTERRUPTED: the process that worked on it is gone. Go on with  evalpoint run --resume {found.info.run_id[:8]} …\n")
            for result in results:
                _print_result(Console(), result, worst=rows)


def _print_result(console: Console, result: "EvaluationResult", *, worst: int = 5) -> None:
    console.print(result, highlight=False, crop=False)
    table = result.worst_table(worst) if worst else None
    if table is not None:
        console.print()
        console.print(table, highlight=False)


def _check_output(path: str | None) -> None:
    """Refuses before anything is spent what could not be written after."""
    if path is None:
        return
    if Path(path).suffix not in (".csv", ".jsonl", ".parquet"):
        raise UsageError(f"--output {path!r} should end in .csv, .jsonl or .parquet")
    if Path(path).is_dir():
        raise UsageError(f"--output {path!r} is a folder; name a file")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"--output {path!r}: there is no folder {str(Path(path).absolute().parent)!r}")


def _write_rows(result: "EvaluationResult", path: Path) -> None:
    """Every row; in CSV, cells that are no plain text or number hold JSON."""
    try:
        if path.suffix == ".parquet":
            from evalpoint.result import write_parquet

            write_parquet(result, path)
        elif path.suffix == ".csv":
            frame: Any = result.result_df
            for column in frame.columns[[str(kind) == "object" for kind in frame.dtypes]]:
                frame[column] = [dump_json(cell) if isinstance(cell, (dict, list)) else cell for cell in frame[column]]
            frame.to_csv(path, index=False)
        else:
            result.result_df.to_json(path, orient="records", lines=True, force_ascii=False)
    except OSError as error:
        raise StoreError(f"the rows could not be written to {str(path)!r}: {error.strerror}; they are in the store") from error


@contextlib.contextmanager
def _using(store: str | None, *, experiment: str | None = None, must_exist: bool = False) -> Generator[None]:
    """The store and the experiment that the flags name."""
    evalpoint.set_tracking_uri(store)
    uri = evalpoint.get_tracking_uri()
    if must_exist and not Path(uri.removeprefix("sqlite:///")).exists():
        raise UsageError(f"there is no store at {uri}; name it with --store, or run evalpoint in the folder that has it")
    if experiment:
        evalpoint.set_experiment(experiment)
    yield
