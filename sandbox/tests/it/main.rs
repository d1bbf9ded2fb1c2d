//! The gateways' simulator over real sockets, with merchants that sign and a clock that waits.

mod alipay;
mod alipay_bills;
mod alipay_faults;
mod alipay_shop;
mod cashier;
mod clock;
mod faults;
mod forward_clock;
mod kept;
mod keys_and_bills;
mod merchant_crypto;
mod notifications;
mod payments;
mod products;
mod refunds;
mod shop;
mod wire_faults;
