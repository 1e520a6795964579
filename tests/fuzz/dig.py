"""``python -m tests.fuzz.dig TARGET FOLDER SECONDS``: one target, one process, led by coverage.

The process ends where something is found, which is why there is one for each target; what was found
lies in the folder then. Seeds are laid into the folder as files, because the fuzzer reads files.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

LONGEST_BYTES = 1 << 16
"""Larger texts find nothing that smaller ones do not; their own limits have tests elsewhere."""
_STUCK_S = 20
_MEMORY_MIB = 1536


def main() -> None:
    """Lay out the seeds and dig until the time is over."""
    with atheris.instrument_imports(include=["reconciler"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - only what is imported here is traced

    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    target = TARGETS[name]
    for part in ("seeds", "grown"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        if len(seed) <= LONGEST_BYTES:
            (folder / "seeds" / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST_BYTES}",
            f"-timeout={_STUCK_S}",
            f"-rss_limit_mb={_MEMORY_MIB}",
            f"-dict={words}",
            f"-artifact_prefix={folder}/found-",
            "-print_final_stats=1",
            str(folder / "grown"),
            str(folder / "seeds"),
        ],
        target.run,
    )
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in word.encode()
    )


if __name__ == "__main__":
    main()
