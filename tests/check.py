"""Everything that must hold, in one command: format, lint, types, contracts, tests. Stops with the first that does not."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = [
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("lint-imports",),
    ("mypy",),
    ("pyright", "--pythonpath", sys.executable),
    ("pytest", *sys.argv[1:]),
]


def main() -> int:
    scripts = Path(sysconfig.get_path("scripts"))
    for name, *arguments in CHECKS:
        started = time.perf_counter()
        print(f"== {name} {' '.join(arguments)}", flush=True)
        code = subprocess.run([str(scripts / name), *arguments], cwd=ROOT, check=False).returncode
        print(
            f"== {name}: {'passed' if code == 0 else f'failed with exit code {code}'} in {time.perf_counter() - started:.1f} s", flush=True
        )
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
