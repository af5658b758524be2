"""Whatever the user has -> checked rows. All guessing of shapes ends here."""

from evalpoint.datasets.binding import call_checker, check_call
from evalpoint.datasets.identity import RunningDigest
from evalpoint.datasets.reading import checked, read

__all__ = ["RunningDigest", "call_checker", "check_call", "checked", "read"]
