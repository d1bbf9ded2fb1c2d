//! WeChat Pay under the contract.

use std::sync::Arc;
use std::time::Duration;

use payonce::gateways::wechat_pay::{Config, WechatPay};
use payonce::payments::ports::{Clock, Gateway};
use sandbox::Sandbox;

use super::provider::{Provider, Which};

pub async fn provider() -> Provider {
    Provider::start(domain::Gateway::WechatPay, connector, None).await
}

fn connector(which: Which, sandbox: &Sandbox, clock: Arc<dyn Clock>) -> Arc<dyn Gateway> {
    let merchant = sandbox.merchant();
    let mut config = Config {
        base_url: sandbox.url(),
        standby_url: None,
        mchid: merchant.mchid.clone(),
        appid: merchant.appid.clone(),
        serial_no: merchant.serial_no.clone(),
        private_key_pem: merchant.private_key_pem.clone().into(),
        certificate_pem: None,
        api_v3_key: merchant.api_v3_key.clone().into(),
        platform_keys: vec![(merchant.public_key_id.clone(), merchant.public_key_pem.clone())],
        timeout: Config::TIMEOUT,
        wanted_key: Some(merchant.public_key_id.clone()),
    };
    match which {
        Which::Usual => {}
        Which::Hurried => config.timeout = Duration::from_millis(300),
        Which::CutOff => config.base_url = "http://127.0.0.1:1".to_owned(),
        Which::OfAnotherMerchant => config.mchid = "1900000999".to_owned(),
    }
    Arc::new(WechatPay::new(config, clock).unwrap())
}
