"""The report: a bill of 3 MB, from ../shared/data where that exists, else made from a seed.

Rule: whichever it is, its SHA-256 and its origin are in the result. The generated one
shrinks about as much (gzip -6: 11 times).
"""

from __future__ import annotations

import random
from pathlib import Path

from experiments.common.machine import REPOSITORY

DATA = REPOSITORY.parent / "shared/data"
LENGTH = 3_000_000
_SEED = 4
_USES = (
    "BoxUsage:t3.micro",
    "DataTransfer-Out-Bytes",
    "EBS:VolumeUsage.gp2",
    "Requests-Tier1",
    "NatGateway-Hours",
)


def find(data: Path = DATA) -> tuple[bytes, str]:
    """The report, and where it is from."""
    recorded = data / "web/cur_3mb.csv"
    if recorded.exists():
        return recorded.read_bytes(), str(recorded)
    return generate(), f"generated, seed {_SEED}"


def generate() -> bytes:
    """Lines of a usage report."""
    chance = random.Random(_SEED)
    lines = [
        "identity/LineItemId,bill/PayerAccountId,lineItem/UsageStartDate,lineItem/UsageType,lineItem/UsageAmount\n"
    ]
    length = 0
    while length < LENGTH:
        identity = f"{chance.getrandbits(64):016x}"
        day, hour = chance.randint(1, 28), chance.randint(0, 23)
        start, use = f"2026-10-{day:02}T{hour:02}:00:00Z", chance.choice(_USES)
        lines.append(
            f"{identity},123456789012,Anniversary,2026-10-01T00:00:00Z,{start},AmazonEC2,{use},RunInstances,"
            f"us-east-1,i-0abcdef{chance.randint(0, 99):03},{chance.random():.6f},USD,Compute Instance,"
            f"Amazon Elastic Compute Cloud,On Demand,Linux,No License required,Shared,Current Generation\n"
        )
        length += len(lines[-1])
    return "".join(lines).encode()[:LENGTH]
