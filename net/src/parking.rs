//! What an executor does just before it sleeps, without interrupting all others.
//!
//! glommio lets an executor announce that it goes to sleep, orders that before its last look for work by `membarrier`, and sends nothing
//! of the kind where work is handed over. That is right where executors sleep seldom. A broker's sleep thousands of times a second, and
//! each of these calls interrupts every other core of the process, one call at a time: 2 % of its processor time on a quiet virtual
//! machine, a quarter and more on a busy one (docs/adr/0020-an-executor-sleeps-by-a-fence.md).
//!
//! On x86-64 the one who hands over work has passed a full barrier anyway: he looks whether to wake the other by a locked
//! compare-and-swap. So a fence before the last look is enough. glommio has no option for that, but asks the kernel through libc's
//! `syscall`: the one below stands in its place in every program that links this crate, and hands all other calls to the kernel.

use std::sync::atomic::{AtomicU64, Ordering};

/// Sleeps that a fence announced in this process.
static FENCED: AtomicU64 = AtomicU64::new(0);

/// How many times an executor of this process was about to sleep, as far as that is known here: always 0 but on x86-64.
pub fn fenced() -> u64 {
    FENCED.load(Ordering::Relaxed)
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::ffi::{c_int, c_long};
    use std::sync::atomic::{Ordering, fence};

    use super::FENCED;

    /// `MEMBARRIER_CMD_PRIVATE_EXPEDITED`.
    const PRIVATE_EXPEDITED: c_long = 1 << 3;
    /// Results from here on are errors.
    const ERROR_MAX: c_long = 4095;

    /// libc's `syscall(2)`, but for one call. A variadic function takes integers where one of fixed arguments does.
    ///
    /// # Safety
    /// That of the call.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn syscall(
        number: c_long,
        first: c_long,
        second: c_long,
        third: c_long,
        fourth: c_long,
        fifth: c_long,
        sixth: c_long,
    ) -> c_long {
        if number == libc::SYS_membarrier && first == PRIVATE_EXPEDITED {
            fence(Ordering::SeqCst);
            FENCED.fetch_add(1, Ordering::Relaxed);
            return 0;
        }
        let mut result = number;
        // SAFETY: what the caller vouches for; the kernel changes these three registers and memory.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") result,
                in("rdi") first,
                in("rsi") second,
                in("rdx") third,
                in("r10") fourth,
                in("r8") fifth,
                in("r9") sixth,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        if (-ERROR_MAX..0).contains(&result) {
            // SAFETY: this thread's own.
            unsafe { *libc::__errno_location() = c_int::try_from(-result).unwrap_or(libc::EINVAL) };
            return -1;
        }
        result
    }
}
