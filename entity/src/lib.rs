//! One file per table: rows and nothing else. What they mean is decided in `domain` and put together
//! in the `store` room.

pub mod customer_day;
pub mod dead_letter;
pub mod event;
pub mod notification;
pub mod operation;
pub mod order;
pub mod order_line;
pub mod payment;
pub mod product;
pub mod quote;
pub mod refund;
pub mod token_revocation;
