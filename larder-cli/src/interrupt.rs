//! Ctrl-C, where it means "stop this" and not "end the program".

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C only raises a flag.
pub(crate) fn catch() {
    let flag = FLAG.get_or_init(Arc::default);
    // It fails only for signals that cannot be caught; then Ctrl-C goes on ending the program.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(flag));
}

/// Whether Ctrl-C was pressed since the last question.
pub(crate) fn taken() -> bool {
    FLAG.get().is_some_and(|flag| flag.swap(false, Ordering::Relaxed))
}
