//! What the processor and the system offer beyond the standard library.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What mappings are multiples of. The system's pages may be larger, which it then rounds to by itself.
pub(crate) const PAGE: usize = 4096;

/// Asks the processor to fetch the cache line of `address`, which somebody will soon read.
///
/// The address is not followed: it may be of freed memory, or no address at all. Useful some 100 ns ahead, on lines
/// that are probably not in any cache; elsewhere it costs a nanosecond for nothing.
#[inline]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program could see, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast::<i8>()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _not_fetched = address;
}

/// [`prefetch`] for who will soon write there: the line comes with the right to, instead of that being asked for once more
/// when it is written and another processor has had it last.
#[inline]
pub fn prefetch_to_write<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as above. Processors that do not know the instruction take it for none (that is how it was introduced).
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    prefetch(address);
}

/// Maps `size` bytes of zeroed memory that begin on a multiple of `align`, a power of two. Nothing of it takes memory
/// before it is touched. `None` when the system has no more.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn map(size: usize, align: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let align = align.max(PAGE);
    let padded = size.checked_add(align - PAGE)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address of the system's choice touches nobody's memory.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), padded, access, MapFlags::PRIVATE) }.ok()?;
    let start = start.cast::<u8>();
    let before = start.align_offset(align);
    let behind = padded - size - before;
    let memory = start.wrapping_add(before);
    for (part, len) in [(start, before), (memory.wrapping_add(size), behind)] {
        if len > 0 {
            // SAFETY: both ends of the new mapping are nobody's, and multiples of a page.
            let _kept = unsafe { rustix::mm::munmap(part.cast(), len) };
        }
    }
    NonNull::new(memory)
}

/// Gives back what [`map`] returned for the same size and alignment.
///
/// # Safety
/// Nobody uses the memory any more.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn unmap(memory: NonNull<u8>, size: usize, _align: usize) {
    // SAFETY: the caller owns the mapping. That it fails, for want of memory to split a mapping, only keeps it.
    let _kept = unsafe { rustix::mm::munmap(memory.as_ptr().cast(), size) };
}

/// Lets other threads of the machine go first when there are fewer processors than work: for a thread that works long and
/// that nobody waits for with every microsecond. There is no way back. May do nothing.
///
/// The thread becomes nicer, and one of those that take no processor away from others when they wake up. It asks for longer
/// turns than others have, which is to its disadvantage: Linux (6.12 and later) lets who wakes up interrupt a longer turn than
/// its own at once, and a shorter one only when it is over, which is looked at some 250 times a second. Not for turns of
/// a tenth of a second: the system's own threads were seen to wait for the end of those, the one that hands on what comes
/// from the network among them.
///
/// It also rests now and then, at places that call [`breathe`].
pub fn give_way() {
    background(NICE, Duration::from_millis(8));
    BREATH.set(UNITS);
}

/// Units of work between two rests: about half a millisecond.
const UNITS: u32 = 20_000;

thread_local! {
    /// Units of work before this thread rests; 0: it never does.
    static BREATH: Cell<u32> = const { Cell::new(0) };
}

/// Part of a long piece of work: `units` of some 25 nanoseconds. Of a thread that has given way, the system makes a pause of
/// about 50 microseconds after every half of a millisecond; for others this does nothing.
///
/// To have the last place in the queue of a processor is not enough. As long as it works no processor is idle, so a thread
/// that is woken may be put behind another one of its own kind, where it waits until the system next looks at the queue,
/// for milliseconds. A processor that becomes idle for a moment takes over what waits elsewhere at once.
#[inline]
pub fn breathe(units: u32) {
    match BREATH.get() {
        0 => {}
        left if left > units => BREATH.set(left - units),
        _ => rest(),
    }
}

#[cold]
fn rest() {
    BREATH.set(UNITS);
    std::thread::sleep(Duration::from_micros(1));
}

/// The same for a thread that works for half a millisecond at most, some of it under locks, and then rests. It asks for turns
/// that are shorter than those of others and longer than its work, so that it is not interrupted while it has a lock that
/// others may want. Between locks it yields.
pub fn give_way_between_locks() {
    background(NICE, Duration::from_micros(600));
}

/// The same for a thread that need not get on at all while others have work.
pub fn give_way_to_all() {
    background(19, Duration::from_millis(8));
}

/// For a thread that answers others: it asks for turns of half a millisecond instead of some three, so that it comes to its
/// turn sooner: after it was woken, and after it has let others run. Does nothing where whoever started the process has
/// chosen a policy of scheduling.
#[cfg(all(target_os = "linux", not(miri)))]
pub fn take_short_turns() {
    // SAFETY: the call reads and changes nothing but what it returns; 0 is the calling thread.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if policy == libc::SCHED_OTHER {
        // SAFETY: as above.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        schedule(policy, nice, Duration::from_micros(500));
    }
}

/// For a thread that answers others. The system is only asked on Linux.
#[cfg(any(not(target_os = "linux"), miri))]
pub fn take_short_turns() {}

fn background(nice: i32, turn: Duration) {
    #[cfg(all(target_os = "linux", not(miri)))]
    schedule(libc::SCHED_BATCH, nice, turn);
    #[cfg(any(not(target_os = "linux"), miri))]
    let _not_asked = (nice, turn);
}

/// Enough that others come first, and that a thread still gets a tenth of a busy processor.
const NICE: i32 = 10;

/// Sets how the system schedules the calling thread. `turn` is heeded by Linux 6.12 and later.
#[cfg(all(target_os = "linux", not(miri)))]
fn schedule(policy: i32, nice: i32, turn: Duration) {
    /// The system's `struct sched_attr` as of its first version.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime_ns: u64,
        deadline_ns: u64,
        period_ns: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: policy as u32,
        nice,
        runtime_ns: turn.as_nanos() as u64,
        ..Attributes::default()
    };
    // SAFETY: the call reads the structure, whose size it is told, and changes the calling thread's scheduling only.
    let _stays_as_it_is = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Gives back the memory under whole pages of a mapping; they read as zeroes afterwards, and take memory again once
/// they are written to. May do nothing but clear them.
///
/// # Safety
/// The pages lie in what [`map`] returned, and nobody uses what they hold.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn discard(memory: NonNull<u8>, size: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the caller owns the pages.
    if unsafe { madvise(memory.as_ptr().cast(), size, Advice::LinuxDontNeed) }.is_err() {
        // SAFETY: as above; the mapping can be written to.
        unsafe { memory.as_ptr().write_bytes(0, size) };
    }
}

/// Says whether a mapping is to be backed by huge pages, where the system leaves that to the program.
///
/// # Safety
/// The memory lies in what [`map`] returned.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn advise_huge(memory: NonNull<u8>, size: usize, wanted: bool) {
    use rustix::mm::{Advice, madvise};
    let advice = if wanted { Advice::LinuxHugepage } else { Advice::LinuxNoHugepage };
    // SAFETY: the advice changes nothing that a program could see. Kernels without huge pages refuse it.
    let _refused = unsafe { madvise(memory.as_ptr().cast(), size, advice) };
}

/// Moves what is in small pages to huge ones, where the system knows how to (Linux 6.1 and later). What the memory holds
/// stays as it is. `size` is a multiple of a huge page's, and so is the address.
///
/// # Safety
/// The memory lies in what [`map`] returned.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn collapse(memory: NonNull<u8>, size: usize) {
    /// Of the system's <linux/mman.h>.
    const MADV_COLLAPSE: libc::c_int = 25;
    // SAFETY: by the contract.
    unsafe { advise_huge(memory, size, true) };
    // SAFETY: as above; what a program sees of the memory does not change, whatever the outcome.
    let _may_fail = unsafe { libc::madvise(memory.as_ptr().cast(), size, MADV_COLLAPSE) };
}

/// Whether whoever runs the machine lets programs have huge pages. Elsewhere than on Linux nobody says so.
pub fn may_use_huge_pages() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| !modes.contains("[never]"))
}

/// The general allocator in place of the system's mappings.
#[cfg(any(not(target_os = "linux"), miri))]
mod general {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    pub(crate) fn map(size: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, align).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the layout is not empty.
        NonNull::new(unsafe { alloc_zeroed(layout) })
    }

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn unmap(memory: NonNull<u8>, size: usize, align: usize) {
        let layout = Layout::from_size_align(size, align).expect("`map` made this layout");
        // SAFETY: allocated with this layout, and not used any more.
        unsafe { dealloc(memory.as_ptr(), layout) }
    }

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn discard(memory: NonNull<u8>, size: usize) {
        // SAFETY: the caller owns the memory.
        unsafe { memory.as_ptr().write_bytes(0, size) };
    }

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn advise_huge(_memory: NonNull<u8>, _size: usize, _wanted: bool) {}

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn collapse(_memory: NonNull<u8>, _size: usize) {}
}
#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) use general::{advise_huge, collapse, discard, map, unmap};

/// The processor's counter of time, where it has one that runs evenly in every state of power and at the same pace on
/// all cores. Reading it costs about 0.4 of a system clock; its pace is measured once per process, to some 30 parts in a
/// million.
#[derive(Debug, Clone, Copy)]
pub struct CycleCounter {
    /// Microseconds per tick, times 2^64.
    us_per_tick: u64,
}

impl CycleCounter {
    /// The counter, if it can be used. The first call takes about a millisecond.
    pub fn find() -> Option<CycleCounter> {
        static FOUND: OnceLock<Option<CycleCounter>> = OnceLock::new();
        *FOUND.get_or_init(|| is_invariant().then(CycleCounter::measure).flatten())
    }

    fn measure() -> Option<CycleCounter> {
        const LONG_ENOUGH: Duration = Duration::from_millis(1);
        let (began, first) = (Instant::now(), ticks());
        while began.elapsed() < LONG_ENOUGH {
            std::hint::spin_loop();
        }
        let (ticks, nanos) = (ticks().checked_sub(first)?, began.elapsed().as_nanos());
        let us_per_tick = (nanos << 64).checked_div(u128::from(ticks) * 1000)?;
        // A counter slower than a megahertz would be of no use, and does not fit.
        u64::try_from(us_per_tick).ok().map(|us_per_tick| CycleCounter { us_per_tick })
    }

    /// Microseconds since some moment.
    #[inline]
    pub fn now_us(self) -> u64 {
        ((u128::from(ticks()) * u128::from(self.us_per_tick)) >> 64) as u64
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; a system that forbids it to programs says so by hiding that
    // the counter is invariant, and then nobody calls this.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ticks() -> u64 {
    0
}

/// Whether the processor says that its counter is the same everywhere and always.
#[cfg(target_arch = "x86_64")]
fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;
    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & INVARIANT != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn is_invariant() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cycle_counter_runs_like_the_clock() {
        let Some(counter) = CycleCounter::find() else { return };
        let (began, first) = (Instant::now(), counter.now_us());
        std::thread::sleep(Duration::from_millis(20));
        let (counted, taken) = (counter.now_us() - first, began.elapsed().as_micros() as u64);
        // The two are read one after the other, and the thread may be stopped in between: they agree roughly.
        assert!(counted >= 19_000, "20 ms were counted as {counted} us");
        assert!(counted <= taken + taken / 100, "{taken} us were counted as {counted}");
    }
}
