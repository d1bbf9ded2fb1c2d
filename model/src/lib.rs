//! The guard's protocol as a model, small enough to try every order of events.
//!
//! Two processes work on two idempotency keys. Clients send a key more than once, processes die at any step and
//! lose their memory, the Redis lock answers whatever it likes, requests to the gateway come late or never, answers
//! get lost, and the store may lose its last commit. [stateright](https://docs.rs/stateright) visits every state
//! that can be reached within the [`Budget`] of such faults and asks every [property](properties) of each.
//!
//! A *charge* is money that moves at the gateway under a number: a payment that is paid, or a refund that is done.
//! The guard treats both alike, and so does the model. One transaction of the store is one step of the model, for
//! that is what a transaction is; everything between two of them can be interleaved, or end in a crash.
//!
//! | [`Step`] | in the code | what it may touch |
//! |---|---|---|
//! | `Look` | `guard::replay` | reads the claim |
//! | `Lock` | `guard::lock_operation` | Redis, which may lie: any answer at any time |
//! | `Claim` | `create_order::commit_order`, `refund::commit_refund` | one transaction: claim, number and intent |
//! | `TakeOver` | `guard::take_over`, `resolve::adopt` | one conditional UPDATE of a claim whose lease has ended |
//! | `Slot` | `refund::resolve_refund`: `take_refund_slot` | one transaction: who may say "sent for the first time" |
//! | `Ask` | `attempt::resolve_payment`, `refund::resolve_refund`: find | nothing: a question |
//! | `Mark` | `attempt::open_at_gateway`, `refund::send_refund`: still open? sent again? | one transaction |
//! | `Renew` | `guard::before_a_call` | one conditional UPDATE: is the lease still ours? |
//! | `Send`, `Wait` | `Gateway::open`, `Gateway::refund` | the gateway, with no transaction open |
//! | `AskAfterNo` | the same two: find | nothing: a "no" is asked about |
//! | `Record` | `change::change_once` | one transaction: state by rank, claim finished if it is still ours |
//!
//! What the model leaves out: closing an attempt, amounts, more than two keys, more than one lost commit. Time is
//! the action [`Action::Lapse`]: a lease may end whenever its holder is gone, and as often as the budget of stalls
//! allows while its holder lives, at the worst moment.
//!
//! A [`Mutant`] is the protocol with one rule broken. The tests want a counterexample for each.

mod gateway;
mod guard;
mod mutant;
pub mod properties;
mod protocol;
mod state;

pub use gateway::{Gateway, Told};
pub use guard::{Action, Guard};
pub use mutant::Mutant;
pub use state::{Budget, Claim, Holder, Job, Learned, LockAnswer, Record, Reply, State, Status, Step, Store, Task};
