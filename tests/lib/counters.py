"""The record's counters, in their order (`crates/abi/src/counter.rs`): what users are shown, written down a
second time so that no name changes unnoticed.
"""

NAMES = (
    "stolen",
    "no_module",
    "queue_full",
    "no_descriptor",
    "in_flight",
    "fd_range",
    "no_registry",
    "wrong_owner",
    "system_error",
    "refused",
    "skipped",
    "declined",
    "out_of_band",
    "swept",
    "adopted",
    "connects",
    "module_full",
)
# Of an accepted socket: stolen, or why not.
ACCEPTS = (*NAMES[:9], "module_full")
