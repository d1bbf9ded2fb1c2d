//! The protocol with one rule broken.

/// Which rule is broken. Each must be caught by a property, or the model proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The gateway is called first and the intent committed after (against L2).
    CallBeforeCommit,
    /// Who holds the Redis lock does not look whether the key is claimed (against L1).
    TrustRedis,
    /// What was read before the call is written after it, without the order's version (against L5).
    NoFence,
    /// A claim is renewed and finished without asking who holds it (section 4).
    NoHolder,
    /// A claim is taken over while its holder is alive (section 4).
    TakeoverOfTheLiving,
    /// Who goes on with an operation gives it another number (against L3).
    NewNumberOnRetry,
    /// Numbers are drawn, not derived from the key (against L3).
    DrawnNumbers,
    /// A timeout counts as a failure (against L4).
    TimeoutIsFailure,
    /// A timeout takes claim and intent back (against L9).
    TimeoutUnclaims,
    /// A "no" to what may have been sent before is believed (section 6).
    BelieveEveryNo,
    /// Sending again is not marked before it is done: a first sender who was overtaken believes its "no".
    NoMark,
    /// A repetition that never left makes the refund count as never sent.
    ForgetTheFirst,
    /// Whether the money suffices is read before the transaction (section 6).
    ReadThenWrite,
    /// A success is not recorded once we took the operation for failed (against L6).
    FailedIsFinal,
    /// Only clients that ask again go on with what was left (against L9).
    NoScheduler,
}
