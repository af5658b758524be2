"""Mock workspaces, endpoints, judges and clocks, for tests of your own evaluation without a workspace. Public.

    from evalpoint.mocks import Answer, MockWorkspace, fault

The server needs the extra `evalpoint[ui]`; importing this does not.
"""

from evalpoint.mocks import faults as fault
from evalpoint.mocks.answers import Answer, Answers, MockSpan, ToolCall, Usage
from evalpoint.mocks.clock import FakeClock, Ids
from evalpoint.mocks.demo import demo_agent, demo_rows, demo_workspace
from evalpoint.mocks.endpoint import Latency, MockEndpoint, Permission, TraceReply
from evalpoint.mocks.exchange import RecordedRequest
from evalpoint.mocks.faults import Fault
from evalpoint.mocks.judge import JudgePrompt, JudgeRule, MockJudge, Rule, correctness_rule, guidelines_rule, judge_prompt
from evalpoint.mocks.workspace import EndpointOptions, MockWorkspace

__all__ = [
    "Answer",
    "Answers",
    "EndpointOptions",
    "FakeClock",
    "Fault",
    "Ids",
    "JudgePrompt",
    "JudgeRule",
    "Latency",
    "MockEndpoint",
    "MockJudge",
    "MockSpan",
    "MockWorkspace",
    "Permission",
    "RecordedRequest",
    "Rule",
    "ToolCall",
    "TraceReply",
    "Usage",
    "correctness_rule",
    "demo_agent",
    "demo_rows",
    "demo_workspace",
    "fault",
    "guidelines_rule",
    "judge_prompt",
]
