//! Door out: the payment providers. One folder each; a new one adds its folder and its lines here.

use std::sync::Arc;

use domain::Gateway;

use crate::payments::ports::{self, Clock, Gateways};

mod transport;

pub mod alipay;
pub mod wechat_pay;

/// The registry: which providers are configured, and with what.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// WeChat Pay; `None`: not offered.
    pub wechat_pay: Option<wechat_pay::Config>,
    /// Alipay; `None`: not offered.
    pub alipay: Option<alipay::Config>,
}

/// A provider's configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// WeChat Pay's.
    #[error("WeChat Pay: {0}")]
    WechatPay(#[from] wechat_pay::ConfigError),
    /// Alipay's.
    #[error("Alipay: {0}")]
    Alipay(#[from] alipay::ConfigError),
}

impl Registry {
    /// Builds the connectors of what is configured; calls nobody. A provider that is not configured is
    /// simply not there.
    pub fn connect(self, clock: &Arc<dyn Clock>) -> Result<Gateways, ConfigError> {
        let mut gateways = Gateways::new();
        if let Some(config) = self.wechat_pay {
            let connector: Arc<dyn ports::Gateway> = Arc::new(wechat_pay::WechatPay::new(config, clock.clone())?);
            gateways.insert(Gateway::WechatPay, connector);
        }
        if let Some(config) = self.alipay {
            let connector: Arc<dyn ports::Gateway> = Arc::new(alipay::Alipay::new(config, clock.clone())?);
            gateways.insert(Gateway::Alipay, connector);
        }
        Ok(gateways)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Arc<dyn Clock> {
        Arc::new(wechat_pay::vectors::Stopped)
    }

    fn both() -> Registry {
        Registry {
            wechat_pay: Some(wechat_pay::vectors::config("http://127.0.0.1:1")),
            alipay: Some(alipay::vectors::config("http://127.0.0.1:1")),
        }
    }

    #[test]
    fn a_provider_is_there_when_it_is_configured() {
        assert!(Registry::default().connect(&clock()).unwrap().is_empty());
        let gateways = Registry { alipay: None, ..both() }.connect(&clock()).unwrap();
        assert!(gateways.contains_key(&Gateway::WechatPay) && !gateways.contains_key(&Gateway::Alipay));
        let gateways = Registry { wechat_pay: None, ..both() }.connect(&clock()).unwrap();
        assert!(!gateways.contains_key(&Gateway::WechatPay) && gateways.contains_key(&Gateway::Alipay));
        assert_eq!(both().connect(&clock()).unwrap().len(), 2);
    }

    #[test]
    fn a_wrong_configuration_names_its_provider() {
        let mut wrong = both();
        wrong.wechat_pay.as_mut().unwrap().api_v3_key = "short".into();
        let error = wrong.connect(&clock()).err().unwrap();
        assert_eq!(error.to_string(), "WeChat Pay: the APIv3 key has 5 bytes; right are exactly 32");
        let mut wrong = both();
        wrong.alipay.as_mut().unwrap().app_id = "wx1".into();
        let error = wrong.connect(&clock()).err().unwrap();
        assert_eq!(error.to_string(), "Alipay: the app id is not 16 digits; right is an id such as 2021000000000001");
    }
}
