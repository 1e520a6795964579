"""The whole kill matrix: ``python -m tests.matrix`` writes ``docs/reference/kill-matrix.md``."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.matrix import page, whole
from tests.matrix.points import everywhere
from tests.matrix.scenes import excuse


def main() -> int:
    """Play everything, write the page, and say what was not well."""
    # Two processes that share nothing: each has threads of its own, which a fork would not copy.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        coming = processes.submit(whole.in_memory), processes.submit(whole.on_a_host)
        memory, (real, held_s) = coming[0].result(), coming[1].result()
    page.PAGE.write_text(page.render(memory, real, held_s))
    for one in [*memory, *real]:
        if one.wrong is not None:
            print(f"{one.crossing} ({'kept' if one.kept else 'lost'}): {one.wrong}")
    met = [{one.crossing for one in verdicts} for verdicts in (memory, real)]
    unmet = [
        name
        for on_qemu, names in enumerate(met)
        for name in sorted(everywhere() - names)
        if excuse(name, on_qemu=bool(on_qemu)) is None
    ]
    bad = [one for one in (*memory, *real) if one.wrong is not None]
    print(f"in memory {len(memory)} deaths, on QEMU {len(real)}; not well: {len(bad)}")
    print(f"not met: {', '.join(unmet) or 'none'}")
    for name, seconds in held_s.items():
        print(f"held still after {name}: {seconds:.1f} s")
    return 1 if bad or unmet else 0


if __name__ == "__main__":
    sys.exit(main())
