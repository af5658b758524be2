"""Every outgoing call: permit, attempt, decide, wait, account."""

from evalpoint.calls.accounts import Account, account, current_account
from evalpoint.calls.binding import bind, bound
from evalpoint.calls.decisions import GiveUp, Policy, RetryAfter, decide
from evalpoint.calls.loop import retrying
from evalpoint.calls.permitting import Permits, permits
from evalpoint.calls.redaction import redact, secrets_of
from evalpoint.calls.renewing import renewing
from evalpoint.calls.replies import HttpReply
from evalpoint.calls.server import Server
from evalpoint.calls.streams import ByteStream
from evalpoint.calls.translation import names_address, status_class, translate

__all__ = [
    "Account",
    "ByteStream",
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
    "names_address",
    "permits",
    "redact",
    "renewing",
    "retrying",
    "secrets_of",
    "status_class",
    "translate",
]
