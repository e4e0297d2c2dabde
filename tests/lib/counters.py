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
    "pairs_new",
    "pairs_reused",
    "pairs_dirty",
    "pairs_unread",
    "pairs_killed",
    "pairs_trimmed",
    "pairs_duplicated",
    "pairs_forked",
    "pairs_shutdown",
    "pairs_passed",
    "pairs_options",
    "pairs_epoll",
    "pairs_busy",
    "pairs_replaced",
    "pairs_abandoned",
    "pairs_no_room",
    "pairs_io_uring",
    "begins_joined",
    "returned",
)
# Of an accepted socket: stolen, or why not.
ACCEPTS = (*NAMES[:9], "module_full")
