"""N connections at concurrency C, each with a deadline, and what became of them.

Rules: nothing is retried; after a number of failures the load stops, since a broken server would only
repeat them. `python -m tests.integrity.client.load --help` runs it by hand against any server that serves
the tree.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.integrity.client.connection import Declined, Wrong
from tests.integrity.client.scenarios import SCENARIOS, Run, Target
from tests.integrity.client.tree import Tree
from tests.servers.base import Traits

# No scenario needs more than a few seconds alone; the rest is waiting for the other 47.
DEADLINE = 60.0
ENOUGH_FAILURES = 10


@dataclass
class Result:
    """Counts by (scenario, outcome), and the failures in words."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"{sum(self.counts.values())} connections in {self.seconds:.1f} s"]
        for name in SCENARIOS:
            ends = {outcome: n for (which, outcome), n in sorted(self.counts.items()) if which == name}
            lines += ["  " + name.ljust(16) + ", ".join(f"{o} {n}" for o, n in ends.items())] if ends else []
        return "\n".join(lines + self.failures)


async def outcome_of(run: Run, name: str) -> str:
    """Runs a scenario and names its end."""
    try:
        return await asyncio.wait_for(SCENARIOS[name].run(run), DEADLINE)
    except ConnectionRefusedError:
        return "refused"
    except EOFError:  # asyncio.IncompleteReadError is one
        return "short"
    except ConnectionError:
        return "reset"
    except Declined:
        return "declined"
    except TimeoutError:
        return "hang"
    except Wrong as error:
        return f"wrong: {error}"
    finally:
        if run.connection:
            run.connection.close()


async def load(target: Target, connections: int, concurrency: int, seed: int) -> Result:
    """Makes the connections and returns what became of each."""
    result, started = Result(), time.monotonic()
    traits = target.traits
    names = [n for n, s in SCENARIOS.items() if not s.needs or getattr(traits, s.needs)]
    shares = [SCENARIOS[n].share for n in names]
    numbers = iter(range(connections))

    async def worker() -> None:
        for number in numbers:
            if len(result.failures) >= ENOUGH_FAILURES:
                return
            run = Run(target, seed, number)
            name = run.draw.choices(names, shares)[0]
            outcome = await outcome_of(run, name)
            result.counts[name, outcome.partition(":")[0]] += 1
            if outcome not in SCENARIOS[name].permitted(traits):
                result.failures.append(f"connection {number} ({name}, seed {seed}): {outcome}")

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    result.seconds = time.monotonic() - started
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--tree", type=Path, help="where the files are made; the server serves them from there"
    )
    args = parser.parse_args()
    tree = Tree(args.tree or Path(tempfile.mkdtemp()), seed=1)
    target = Target(args.host, args.port, tree, Traits())
    print(asyncio.run(load(target, args.connections, args.concurrency, args.seed)))


if __name__ == "__main__":
    main()
