//! Randomness that cannot fail, for numbers that only have to differ.

use std::hash::{BuildHasher, Hasher, RandomState};

/// So many decimal digits, at most 20.
pub(crate) fn digits<const COUNT: usize>() -> String {
    let all = format!("{:020}", number());
    all[all.len() - COUNT..].to_owned()
}

/// The standard library's hash seeds are random and, unlike a generator's, cannot fail.
pub(crate) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}
