//! What every gateway promises, whoever it is: `payments::ports::Gateway` as tests, run against the sandbox.
//!
//! A new connector adds a file with its `provider()` and its line in `kept_by_every_gateway!`.

mod alipay;
mod billing;
mod closing;
mod doubt;
mod notifications;
mod opening;
mod provider;
mod refunding;
mod wechat_pay;

use provider::Provider;

/// Runs each promise with each connector.
macro_rules! kept_by_every_gateway {
    ($($promise:ident),+ $(,)?) => { $(
        mod $promise {
            use crate::gateway_contract as contract;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn by_wechat_pay() { super::$promise(contract::wechat_pay::provider().await).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn by_alipay() { super::$promise(contract::alipay::provider().await).await }
        }
    )+ };
}
use kept_by_every_gateway;
