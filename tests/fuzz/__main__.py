"""``python -m tests.fuzz``: every target for its time, two at once; exit 1 if one was broken.

What breaks a target is kept in ``tests/fuzz/corpus/TARGET``: commit it with the mending, and every
test run tries it again.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

CHECKOUT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
_GRACE_S = 120
_AT_ONCE = 2
_PULSE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digging:
    """What came of one target: how many texts it was given, how much of the code they reached."""

    name: str
    runs: int
    coverage: int
    found: tuple[bytes, ...]
    last_words: str


def main() -> int:
    """Dig at all targets that are asked for, and say what came of it."""
    parser = argparse.ArgumentParser(description="Look for text that breaks a door.")
    parser.add_argument("--seconds", type=int, default=600, help="how long for each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    print(f"fuzz: {', '.join(names)}; {arguments.seconds} s each, {_AT_ONCE} at once", flush=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        diggings = list(pool.map(lambda name: dig(name, seconds=arguments.seconds), names))
    print(f"{'target':<10} {'texts':>10} {'edges':>7}  found")
    for one in diggings:
        print(f"{one.name:<10} {one.runs:>10,} {one.coverage:>7,}  {len(one.found) or 'nothing'}")
    for one in diggings:
        for text in one.found:
            print(f"\n{one.name} breaks; the text is kept as {_keep(one.name, text)}")
        if one.found or not one.runs:
            print(one.last_words)
    return 1 if any(one.found or not one.runs for one in diggings) else 0


def dig(name: str, *, seconds: int) -> Digging:
    """Run one target in a process of its own, which cannot outlive its time by much."""
    with tempfile.TemporaryDirectory(prefix=f"domops-fuzz-{name}-") as place:
        folder = Path(place)
        for kept in sorted((CORPUS / name).glob("*")):
            (folder / "grown").mkdir(exist_ok=True)
            shutil.copy(kept, folder / "grown" / kept.name)
        log = folder / "log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "tests.fuzz.dig", name, str(folder), str(seconds)]
            subprocess.run(
                command,
                cwd=CHECKOUT,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=seconds + _GRACE_S,
                check=False,
            )
        said = log.read_text(errors="replace")
        pulses = _PULSE.findall(said)
        found = tuple(path.read_bytes() for path in sorted(folder.glob("found-*")))
        return Digging(
            name=name,
            runs=int(pulses[-1][0]) if pulses else 0,
            coverage=int(pulses[-1][1]) if pulses else 0,
            found=found,
            last_words=said[-4000:],
        )


def _keep(name: str, text: bytes) -> Path:
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / hashlib.sha256(text).hexdigest()[:16]
    kept.write_bytes(text)
    return kept.relative_to(CHECKOUT)


if __name__ == "__main__":
    sys.exit(main())
