"""A million connections to the mixed server, spread over its modes and variants; progress as they end."""

import os
import time

import pytest

from tests.integrity.test_mixed import CELLS, drive

# A hundred times what a cell of the other matrix gets: MODNET_SOAK_CONNECTIONS makes it less or more.
CONNECTIONS = 100 * int(os.environ.get("MODNET_SOAK_CONNECTIONS", "10000")) // len(CELLS)
STEP = 10_000

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(("mode", "variant", "pairs"), CELLS)
def test_no_flow_meets_another(mode: str, variant: str, pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_PAIRS", pairs)
    started = time.monotonic()

    def say(done: int) -> None:
        if done % STEP == 0:
            print(f"{mode} {variant} {pairs}: {done} in {time.monotonic() - started:.0f} s", flush=True)

    drive(mode, variant, CONNECTIONS, seed=2, say=say)
