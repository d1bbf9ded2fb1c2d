//! Alipay under the contract.

use std::sync::Arc;
use std::time::Duration;

use payonce::gateways::alipay::{Alipay, Config, Mode};
use payonce::payments::ports::{Clock, Gateway};
use sandbox::Sandbox;

use super::provider::{Provider, Which};

pub async fn provider() -> Provider {
    Provider::start(domain::Gateway::Alipay, connector, Some(Sandbox::alipay_gateway_url)).await
}

fn connector(which: Which, sandbox: &Sandbox, clock: Arc<dyn Clock>) -> Arc<dyn Gateway> {
    let merchant = &sandbox.merchant().alipay;
    let mut config = Config {
        gateway_url: sandbox.alipay_gateway_url(),
        browser_url: None,
        app_id: merchant.app_id.clone(),
        seller_id: merchant.seller_id.clone(),
        private_key: merchant.private_key_pem.clone().into(),
        mode: Mode::PublicKey(merchant.alipay_public_key_pem.clone()),
        timeout: Config::TIMEOUT,
    };
    match which {
        Which::Usual => {}
        Which::Hurried => config.timeout = Duration::from_millis(300),
        Which::CutOff => config.gateway_url = "http://127.0.0.1:1/gateway.do".to_owned(),
        Which::OfAnotherMerchant => config.seller_id = "2088000000009999".to_owned(),
    }
    Arc::new(Alipay::new(config, clock).unwrap())
}
