"""What mock endpoints take beside their answers, as the methods of `MockWorkspace` have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from evalpoint.mocks.descriptions import Deployment, Permission, Ready
from evalpoint.mocks.endpoint import TraceReply
from evalpoint.mocks.faults import Faults
from evalpoint.mocks.latencies import Latency
from evalpoint.mocks.quotas import Quota
from evalpoint.mocks.streams import Streaming
from evalpoint.mocks.waking import ColdStart

__all__ = ["EndpointOptions"]


class EndpointOptions(TypedDict, total=False):
    """What every kind of mock endpoint takes beside its answers.

    latency: seconds, a distribution such as `latency.lognormal(0.2, 1.5)`, or a function of the request.
    faults: what goes wrong, in order, one for each call; then normal answers. `fault.at_rate` never ends.
    trace: what comes back as `databricks_output.trace` where a trace is asked for; True for a trace of the answer,
        `damaged("cycle")` for one that is not as it should be.
    permission: what callers may do; hides the description (403) or refuses calls (403).
    state, deployment, deployment_message: READY or NOT_READY, and the state of the served entity.
    ready_after: seconds that it still starts, from when somebody first looks at it or calls it.
    updating: whether a new version is on its way while the old one serves.
    served: names of the served entities; calls go to the first unless they name one. Or percentages by name:
        `served={"bot-1": 90, "bot-2": 10}`.
    experiment_id: where the endpoint's traces say that they live.
    rejects: top-level request fields that are refused with the 400 "unknown field".
    quota: how much may be asked in a minute; more is a 429.
    cold_start: scaled to zero: how it wakes up.
    streaming: how it streams where a call asks for it.
    route_optimized: whether it answers on the workspace's data-plane host only, to OAuth tokens made for it.
    largest_request: bytes of the largest request, in place of its kind's limit (413).
    """

    latency: Latency
    faults: Faults
    trace: TraceReply
    permission: Permission
    state: Ready
    deployment: Deployment
    deployment_message: str
    ready_after: float
    updating: bool
    served: Sequence[str] | Mapping[str, int]
    experiment_id: str | None
    rejects: Sequence[str]
    quota: Quota
    cold_start: ColdStart
    streaming: Streaming
    route_optimized: bool
    largest_request: int
