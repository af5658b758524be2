"""Mock workspaces, endpoints, judges and clocks, for tests of your own evaluation without a workspace. Public.

    from evalpoint.mocks import Answer, MockWorkspace, fault

The server needs the extra `evalpoint[ui]`; importing this does not, and loads each name when it is first used: pytest imports this
package for the sake of its plugin, in the tests of everybody who has evalpoint installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpoint.mocks import faults as fault
    from evalpoint.mocks import latencies as latency
    from evalpoint.mocks.answers import Answer, Answers, MockSpan, ToolCall, Usage
    from evalpoint.mocks.apps import AppOptions, MockApp
    from evalpoint.mocks.clock import FakeClock, Ids
    from evalpoint.mocks.damage import damaged
    from evalpoint.mocks.demo import demo_agent, demo_rows, demo_workspace
    from evalpoint.mocks.endpoint import Latency, MockEndpoint, Permission, TraceReply
    from evalpoint.mocks.exchange import RecordedRequest
    from evalpoint.mocks.faults import Fault
    from evalpoint.mocks.judge import JudgePrompt, JudgeRule, MockJudge, Rule, correctness_rule, guidelines_rule, judge_prompt
    from evalpoint.mocks.judge_door import JudgeDoor
    from evalpoint.mocks.quotas import Quota
    from evalpoint.mocks.recorder import Recorder, record
    from evalpoint.mocks.routes import MockRoute
    from evalpoint.mocks.streams import Stream, Streaming
    from evalpoint.mocks.waking import ColdStart
    from evalpoint.mocks.workspace import EndpointOptions, MockWorkspace

_HOMES = {
    "evalpoint.mocks.answers": (
        "Answer",
        "Answers",
        "MockSpan",
        "ToolCall",
        "Usage",
    ),
    "evalpoint.mocks.clock": (
        "FakeClock",
        "Ids",
    ),
    "evalpoint.mocks.apps": (
        "AppOptions",
        "MockApp",
    ),
    "evalpoint.mocks.damage": ("damaged",),
    "evalpoint.mocks.demo": (
        "demo_agent",
        "demo_rows",
        "demo_workspace",
    ),
    "evalpoint.mocks.endpoint": (
        "Latency",
        "MockEndpoint",
        "Permission",
        "TraceReply",
    ),
    "evalpoint.mocks.exchange": ("RecordedRequest",),
    "evalpoint.mocks.faults": ("Fault",),
    "evalpoint.mocks.judge": (
        "JudgePrompt",
        "JudgeRule",
        "MockJudge",
        "Rule",
        "correctness_rule",
        "guidelines_rule",
        "judge_prompt",
    ),
    "evalpoint.mocks.judge_door": ("JudgeDoor",),
    "evalpoint.mocks.quotas": ("Quota",),
    "evalpoint.mocks.recorder": (
        "Recorder",
        "record",
    ),
    "evalpoint.mocks.routes": ("MockRoute",),
    "evalpoint.mocks.streams": (
        "Stream",
        "Streaming",
    ),
    "evalpoint.mocks.waking": ("ColdStart",),
    "evalpoint.mocks.workspace": (
        "EndpointOptions",
        "MockWorkspace",
    ),
}
_MODULES = {"fault": "evalpoint.mocks.faults", "latency": "evalpoint.mocks.latencies"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "Answers",
    "AppOptions",
    "ColdStart",
    "EndpointOptions",
    "FakeClock",
    "Fault",
    "Ids",
    "JudgeDoor",
    "JudgePrompt",
    "JudgeRule",
    "Latency",
    "MockApp",
    "MockEndpoint",
    "MockJudge",
    "MockRoute",
    "MockSpan",
    "MockWorkspace",
    "Permission",
    "Quota",
    "RecordedRequest",
    "Recorder",
    "Rule",
    "Stream",
    "Streaming",
    "ToolCall",
    "TraceReply",
    "Usage",
    "correctness_rule",
    "damaged",
    "demo_agent",
    "demo_rows",
    "demo_workspace",
    "fault",
    "guidelines_rule",
    "judge_prompt",
    "latency",
    "record",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'evalpoint.mocks' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
