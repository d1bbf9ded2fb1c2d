//! What Payonce promises, one file per mutation or promise, on real servers.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod alipay;
mod architecture;
mod cancel_order;
mod coordination;
mod create_order;
mod front_door;
mod gateway_contract;
mod gateway_faults;
mod invariants;
mod keys;
mod live;
mod live_faults;
mod lying_redis;
mod next_number;
mod notifications;
mod outage;
mod outside_refunds;
mod overload;
mod payment_status;
mod products;
mod reconcile;
mod recovery;
mod refund_order;
mod repay_order;
mod rewound;
mod schema;
mod shutdown;
mod start;
mod store;
mod story;
mod support;
mod wechat_pay;
