//! The gateways' other side: speaks WeChat Pay v3 and Alipay on the wire as the real ones do, plays
//! the payer on a cashier page, and does wrong what it is told to do wrong. No money moves. It knows
//! the gateways' documents and nothing of the program that is tried with it.

mod alipay;
mod calls;
mod cashier;
mod clock;
mod connection;
mod control;
mod courier;
mod faults;
/// Both sides' keys.
pub mod keys;
mod ledger;
mod outbox;
mod random;
mod running;
mod state;
mod transport;
#[cfg(test)]
mod vectors;
mod wechat_pay;
mod world;

pub use alipay::{AlipayCertificates, AlipayMerchant};
pub use calls::{Call, ReceivedCall};
pub use cashier::PayError;
pub use clock::{Clock, ForwardClock, SystemClock};
pub use faults::{Fault, FaultKind, UnknownFault};
pub use keys::Merchant;
pub use ledger::{Charge, Ledger, RefundedMoney};
pub use running::{Sandbox, SandboxConfig, StartError};
pub use state::StateError;
pub use wechat_pay::KeyMode;
