//! `modnet_map_state`: a pointer to a state, whichever way it comes.
//!
//! Where the kernel writes it, the pointer leads into the kernel's array. Else it leads to memory of ours, which one thread
//! fills from samples: it runs while such a pointer is out, as nobody can see a C program read. Rules: a pointer stays good
//! until it is given back; what it was made from lives as long.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use modnet_abi::sockstate::{SockState, WORDS};
use modnet_engine::calls::state;
use modnet_engine::error::{Error, Result};
use modnet_inspect::access::Words;
use modnet_inspect::mapped::{consistent, state_of};
use modnet_inspect::watch::{words_of, Watch, INTERVAL};

use crate::answer;

/// What pointers are out, by address.
static OUT: Mutex<Out> = Mutex::new(Out { states: BTreeMap::new(), samples: false });

struct Out {
    states: BTreeMap<usize, Given>,
    /// Whether the thread runs.
    samples: bool,
}

/// One pointer, given once or more.
struct Given {
    watch: Arc<Watch>,
    /// Memory of ours; None: the kernel's.
    own: Option<Arc<Own>>,
    times: usize,
}

#[repr(align(64))]
struct Own(Words);

impl Own {
    fn write(&self, state: &SockState) {
        // One thread writes at a time: it holds the lock.
        let before = self.0[0].load(Ordering::Relaxed);
        self.0[0].store(sequence(before, number(before).wrapping_add(1)), Ordering::Relaxed);
        fence(Ordering::Release);
        let words = words_of(state);
        for (to, from) in self.0.iter().zip(words).skip(1) {
            to.store(from, Ordering::Relaxed);
        }
        self.0[0].store(sequence(words[0], number(before).wrapping_add(2)), Ordering::Release);
    }
}

/// The first word with another sequence number.
fn sequence(word: u64, number: u32) -> u64 {
    let mut bytes = word.to_ne_bytes();
    bytes[..4].copy_from_slice(&number.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn number(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// See `include/modnet.h`.
#[no_mangle]
pub extern "C" fn modnet_map_state(fd: c_int) -> *const SockState {
    match map(fd) {
        Ok(address) => address as *const SockState,
        Err(error) => {
            answer(Err(error));
            std::ptr::null()
        }
    }
}

/// See `include/modnet.h`.
#[no_mangle]
pub extern "C" fn modnet_unmap_state(state: *const SockState) -> c_int {
    answer(unmap(state as usize).map(|()| 0))
}

/// See `include/modnet.h`.
///
/// # Safety
/// `state` comes from [`modnet_map_state`]; `copy` is null or has room for a state.
#[no_mangle]
pub unsafe extern "C" fn modnet_read_state(state: *const SockState, copy: *mut SockState) -> c_int {
    if state.is_null() || copy.is_null() {
        return answer(Err(Error::new(libc::EFAULT, "no state, or no room for a copy")));
    }
    // SAFETY: as the caller promises; a state has the words' size and alignment, and others only write it atomically.
    let words = unsafe { &*state.cast::<Words>() };
    let Some(words) = consistent(words) else {
        return answer(Err(Error::new(libc::EAGAIN, "the state is being written")));
    };
    // SAFETY: as the caller promises.
    unsafe { copy.write_unaligned(state_of(&words)) };
    0
}

fn map(fd: c_int) -> Result<usize> {
    let watch = state::map(fd)?;
    let first = watch.read().map_err(|reason| Error::new(reason.errno(), reason.to_string()))?;
    let mut out = lock();
    let (address, own) = match watch.mapped() {
        Some(mapped) => (std::ptr::from_ref(mapped.words()) as usize, None),
        None => {
            let own = Arc::new(Own([const { AtomicU64::new(0) }; WORDS]));
            own.write(&first);
            (Arc::as_ptr(&own) as usize, Some(own))
        }
    };
    if own.is_some() && !out.samples {
        let thread = thread::Builder::new().name("modnet-sample".to_owned()).spawn(sample);
        thread.map_err(|e| Error::system("cannot start sampling", &e))?;
        out.samples = true;
    }
    out.states.entry(address).or_insert(Given { watch, own, times: 0 }).times += 1;
    Ok(address)
}

fn unmap(address: usize) -> Result<()> {
    let mut out = lock();
    let Some(given) = out.states.get_mut(&address) else {
        return Err(Error::new(libc::EINVAL, "not a state that was mapped"));
    };
    given.times -= 1;
    if given.times == 0 {
        out.states.remove(&address);
    }
    Ok(())
}

/// Fills what is out, until nothing is.
fn sample() {
    loop {
        thread::sleep(Duration::from_nanos(INTERVAL));
        let mut out = lock();
        let mut any = false;
        for (own, watch) in out.states.values().filter_map(|given| Some((given.own.as_ref()?, &given.watch)))
        {
            any = true;
            // A socket that has gone keeps its last state.
            if let Ok(state) = watch.read() {
                own.write(&state);
            }
        }
        if !any {
            out.samples = false;
            return;
        }
    }
}

fn lock() -> MutexGuard<'static, Out> {
    OUT.lock().unwrap_or_else(PoisonError::into_inner)
}
