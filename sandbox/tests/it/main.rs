//! The WeChat Pay simulator over real sockets, with a merchant that signs and a clock that waits.

mod cashier;
mod clock;
mod faults;
mod kept;
mod merchant_crypto;
mod notifications;
mod payments;
mod products;
mod refunds;
mod shop;
