"""Every outgoing call: permit, attempt, decide, wait, account."""

from evalpoint.calls.accounts import Account, account, current_account
from evalpoint.calls.binding import bind, bound
from evalpoint.calls.decisions import GiveUp, Policy, RetryAfter, decide
from evalpoint.calls.loop import retrying
from evalpoint.calls.permitting import Permits, permits
from evalpoint.calls.redaction import redact
from evalpoint.calls.replies import HttpReply
from evalpoint.calls.server import Server
from evalpoint.calls.translation import translate

__all__ = [
    "Account",
    "GiveUp",
    "HttpReply",
    "Permits",
    "Policy",
    "RetryAfter",
    "Server",
    "account",
    "bind",
    "bound",
    "current_account",
    "decide",
    "permits",
    "redact",
    "retrying",
    "translate",
]
