//! Points at which the fault harness lets a process die.
//!
//! Without the feature `failpoints` nothing of this is compiled. With it, `FAILPOINTS="before_reply=3"` ends the
//! process without a word when it comes to `before_reply` for the third time, as `kill -9` would. Several
//! points are separated by `;`.

/// Dies here if told to by the environment; nothing at all without the feature `failpoints`.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::crash::reached($name);
    };
}

/// Ends the process if the environment has named this point, and this time.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) {
    use std::collections::HashMap;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// How many times more each point is passed alive, and one.
    static ARMED: LazyLock<HashMap<String, AtomicI64>> = LazyLock::new(|| {
        let told = std::env::var("FAILPOINTS").unwrap_or_default();
        let points = told.split(';').filter_map(|point| point.split_once('='));
        points.filter_map(|(name, time)| Some((name.to_owned(), AtomicI64::new(time.parse().ok()?)))).collect()
    });
    if ARMED.get(name).is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
        std::process::abort();
    }
}
