//! The exported functions that replace the program: what waits for a module is sent first, since the next program knows nothing of it.
//!
//! Some take any number of arguments, so all of them jump to libc's with the registers as they came.

use crate::answer::fail;
use crate::sys::Errno;
use crate::{burst, real};

extern "C" fn missing() -> libc::c_int {
    fail(Errno(libc::ENOSYS)) as libc::c_int
}

/// Defines exported functions that flush and jump.
macro_rules! jumps {
    ($($name:ident = $before:ident, $real:ident;)*) => {
        $(
        extern "C" fn $before() -> usize {
            burst::flush();
            real::$real.get().map_or(missing as *const () as usize, |function| function as usize)
        }

        #[doc = concat!("`", stringify!($name), "`, as in libc.")]
        ///
        /// # Safety
        /// As libc's.
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> libc::c_int {
            // Seven words, so that the stack is aligned for the call. al says how many vector registers a variadic call uses: none.
            core::arch::naked_asm!(
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                "call {before}",
                "mov r11, rax",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                "jmp r11",
                before = sym $before
            )
        }

        #[doc = concat!("`", stringify!($name), "`, as in libc.")]
        ///
        /// # Safety
        /// As libc's.
        #[cfg(target_arch = "aarch64")]
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> libc::c_int {
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-16]!", "stp x0, x1, [sp, #-16]!", "stp x2, x3, [sp, #-16]!",
                "stp x4, x5, [sp, #-16]!", "stp x6, x7, [sp, #-16]!",
                "bl {before}",
                "mov x16, x0",
                "ldp x6, x7, [sp], #16", "ldp x4, x5, [sp], #16", "ldp x2, x3, [sp], #16",
                "ldp x0, x1, [sp], #16", "ldp x29, x30, [sp], #16",
                "br x16",
                before = sym $before
            )
        }
        )*
    };
}

jumps! {
    execve = before_execve, EXECVE;
    execv = before_execv, EXECV;
    execvp = before_execvp, EXECVP;
    execvpe = before_execvpe, EXECVPE;
    execl = before_execl, EXECL;
    execle = before_execle, EXECLE;
    execlp = before_execlp, EXECLP;
    fexecve = before_fexecve, FEXECVE;
    execveat = before_execveat, EXECVEAT;
}
