"""Rows and checks from samples. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

from experiments.common import stats
from experiments.common.report import Check, check
from experiments.fig04 import plan
from experiments.fig04.measure import Sample

Results: TypeAlias = dict[str, dict[str, list[Sample]]]
"""Samples by link and variant."""
_VALUES = ("mean_s", "p95_s", "bytes", "busy_ms", "cpu_ms")


def median(results: Results, link: str, variant: str, value: str) -> float:
    """Of all rounds."""
    return stats.spread([getattr(sample, value) for sample in results[link][variant]]).median


def rows(results: Results, size: plan.Size) -> list[dict[str, Any]]:
    """One for each variant on each link."""
    made = []
    for link, variants in results.items():
        best = min(median(results, link, variant, "mean_s") for variant in variants)
        for variant, samples in variants.items():
            row: dict[str, Any] = {
                "link": link,
                "variant": variant,
                "clients": plan.clients(link, size.clients),
                "rounds": len(samples),
            }
            for value in _VALUES:
                row[value] = stats.spread([getattr(sample, value) for sample in samples]).json()
            row["times_the_best"] = float(f"{median(results, link, variant, 'mean_s') / best:.4g}")
            row["paper"] = plan.paper(variant, link)
            made.append(row)
    return made


def checks(results: Results) -> list[Check]:
    """The issue's bounds, as far as what they need was measured."""
    made = []
    for link, variants in results.items():
        for adaptive in (plan.ADAPTIVE, plan.PAPER):
            if adaptive not in variants:
                continue
            fixed = [variant for variant in plan.FIXED if variant in variants]
            if fixed:
                bound = "< 1.0" if link == plan.CHANGING else "<= 1.03"
                made.append(_against(results, link, adaptive, fixed, bound, "the best fixed level"))
            others = [variant for variant in plan.DEFLATE if variant in variants]
            if others and link in ("240", "2"):
                made.append(_against(results, link, adaptive, others, "<= 1.0", "the best mod_deflate"))
        for level in (1, 6):
            ours, theirs = f"gzip-{level}", f"deflate-{level}"
            if {ours, theirs} <= variants.keys():
                made.append(_cpu(results, link, ours, theirs))
    return made


def _against(results: Results, link: str, variant: str, others: list[str], bound: str, what: str) -> Check:
    """To the one of the others to which the ratio is largest. Not to the best of each round: of several alike
    the luckiest is better than any of them is.
    """
    ratios = {other: _ratio(results, link, variant, other) for other in others}
    best = max(ratios, key=lambda other: ratios[other].median)
    spread = ratios[best]
    name = f"{link}: mean time of {variant} / {what}, {best} ({spread.q1:.3g} to {spread.q3:.3g})"
    return check(name, spread.median, bound)


def _ratio(results: Results, link: str, variant: str, other: str) -> stats.Spread:
    mine, theirs = ([sample.mean_s for sample in results[link][name]] for name in (variant, other))
    found = stats.ratios(mine, theirs)
    if link == plan.CHANGING:
        # Each round has another part of the traces: what counts is all of them.
        return dataclasses.replace(found, median=sum(mine) / sum(theirs))
    return found


def _cpu(results: Results, link: str, ours: str, theirs: str) -> Check:
    pairs = [[sample.cpu_ms for sample in results[link][variant]] for variant in (ours, theirs)]
    spread = stats.ratios(*pairs)
    name = f"{link}: processor time of {ours} / {theirs} ({spread.q1:.3g} to {spread.q3:.3g})"
    return check(name, spread.median, "<= 1.0")
