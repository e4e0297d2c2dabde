//! The hooks of a module of messages.
//!
//! Its counters are named `http_…`; a flow whose bytes pass unseen is counted once, with the reason.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use modnet_engine::flow::Way;
use modnet_engine::hooks::{Hooks, Opened, Orders, State, Verdict, Wants};
use modnet_transform::http::filter::Filter;
use modnet_transform::http::Reason;
use pyo3::prelude::*;

use super::talk::{Side, Talk, HEADS};
use crate::hooks::counters;

/// What has happened in all flows.
#[derive(Default)]
pub struct Counted {
    messages: [AtomicU64; 2],
    changed: AtomicU64,
    truncated: AtomicU64,
    broken: AtomicU64,
    opaque: [AtomicU64; Reason::ALL.len()],
}

impl Counted {
    /// Requests and responses more.
    pub fn messages(&self, more: [u64; 2]) {
        for (count, more) in self.messages.iter().zip(more) {
            if more > 0 {
                count.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    /// Messages more that ended before their end.
    pub fn truncated(&self, more: u64) {
        self.truncated.fetch_add(more, Ordering::Relaxed);
    }

    /// A body is changed.
    pub fn changed(&self) {
        self.changed.fetch_add(1, Ordering::Relaxed);
    }

    /// A changed body could not be ended.
    pub fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// A flow passes unseen.
    pub fn opaque(&self, reason: Reason) {
        let at = Reason::ALL.iter().position(|one| *one == reason);
        if let Some(count) = at.and_then(|at| self.opaque.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All by name; reasons that have not come up are left out.
    pub fn all(&self) -> Vec<(String, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut all: Vec<(String, u64)> = vec![
            ("http_requests".into(), read(&self.messages[0])),
            ("http_responses".into(), read(&self.messages[1])),
            ("http_changed".into(), read(&self.changed)),
            ("http_truncated".into(), read(&self.truncated)),
            ("http_broken".into(), read(&self.broken)),
        ];
        let reasons = Reason::ALL.iter().zip(&self.opaque);
        all.extend(
            reasons
                .map(|(reason, count)| (format!("http_opaque_{}", reason.name()), read(count)))
                .filter(|(_, count)| *count > 0),
        );
        all
    }
}

/// Whom flows ask, and what about.
pub struct Asked {
    /// The module.
    pub module: Py<PyAny>,
    /// Whether it has this hook.
    pub request: bool,
    /// Whether it has this hook.
    pub response: bool,
    /// Which responses it wants.
    pub filter: Filter,
    /// Whether a failed hook resets its flow.
    pub on_error_resets: bool,
    /// Shared by all flows.
    pub counted: Counted,
}

impl Asked {
    /// Of a module whose class overrides `hooks`.
    ///
    /// # Errors
    /// What the module's `wanted()` raises.
    pub fn new(module: &Bound<'_, PyAny>, hooks: &HashSet<String>) -> PyResult<Self> {
        let wanted = module.call_method0("wanted")?;
        let on_error: String = module.getattr("on_error")?.extract()?;
        Ok(Self {
            module: module.clone().unbind(),
            request: hooks.contains("request"),
            response: hooks.contains("response"),
            filter: Filter {
                types: wanted.getattr("types")?.extract()?,
                least: wanted.getattr("least")?.extract()?,
                plain: wanted.getattr("plain")?.extract()?,
            },
            on_error_resets: on_error == "reset",
            counted: Counted::default(),
        })
    }
}

/// A module of messages.
pub struct Http {
    asked: Arc<Asked>,
    wants: Wants,
}

impl Http {
    /// Of a module whose class overrides `hooks`.
    ///
    /// # Errors
    /// As [`Asked::new`].
    pub fn new(module: &Bound<'_, PyAny>, hooks: &HashSet<String>) -> PyResult<Self> {
        let asked = Asked::new(module, hooks)?;
        let (opened, closed) = (hooks.contains("opened"), hooks.contains("closed"));
        // Where nobody wants messages, nobody looks for them.
        let looks = asked.request || asked.response;
        Ok(Self {
            asked: Arc::new(asked),
            wants: Wants {
                opened,
                data: [looks; 2],
                end: [looks; 2],
                closed,
                reads: HEADS,
                ..Wants::default()
            },
        })
    }
}

/// What its talk says, where the flow has one.
fn with(state: &mut State, say: impl FnOnce(&mut Talk) -> Verdict) -> Verdict {
    state.downcast_mut::<Talk>().map_or(Verdict::Same, say)
}

impl Hooks for Http {
    fn wants(&self) -> Wants {
        self.wants
    }

    fn on_error_resets(&self) -> bool {
        self.asked.on_error_resets
    }

    fn state(&self, opened: Opened) -> State {
        Box::new(Talk::new(Arc::clone(&self.asked), Side::Engine(Some(Box::new(opened)), None)))
    }

    fn opened(&self, state: &mut State, orders: &mut Orders) -> Verdict {
        with(state, |talk| talk.call("opened", [0; 2], orders))
    }

    fn data(
        &self,
        state: &mut State,
        way: Way,
        data: &[u8],
        bytes: [u64; 2],
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        with(state, |talk| talk.feed(way, data, bytes, out, orders))
    }

    fn end(
        &self,
        state: &mut State,
        way: Way,
        _bytes: [u64; 2],
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        with(state, |talk| talk.end(way, out, orders))
    }

    fn woken(
        &self,
        state: &mut State,
        way: Way,
        waiting: usize,
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        with(state, |talk| talk.woken(way, waiting, out, orders))
    }

    fn closed(&self, state: &mut State, bytes: [u64; 2]) -> Verdict {
        with(state, |talk| talk.call("closed", bytes, &mut Orders::default()))
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let mut all = self.asked.counted.all();
        all.extend(counters(&self.asked.module));
        all
    }
}
