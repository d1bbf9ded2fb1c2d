//! Door out: the payment providers. One folder each; a new one adds its folder and its lines here.

use std::sync::Arc;

use domain::Gateway;

use crate::payments::ports::{self, Clock, Gateways};

pub mod wechat_pay;

/// The registry: which providers are configured, and with what.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// WeChat Pay; `None`: not offered.
    pub wechat_pay: Option<wechat_pay::Config>,
}

/// A provider's configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// WeChat Pay's.
    #[error("WeChat Pay: {0}")]
    WechatPay(#[from] wechat_pay::ConfigError),
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
        Ok(gateways)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors;

    #[test]
    fn a_provider_is_there_when_it_is_configured() {
        let clock: Arc<dyn Clock> = Arc::new(vectors::Stopped);
        assert!(Registry::default().connect(&clock).unwrap().is_empty());
        let gateways = Registry { wechat_pay: Some(vectors::config("http://127.0.0.1:1")) }.connect(&clock).unwrap();
        assert!(gateways.contains_key(&Gateway::WechatPay) && !gateways.contains_key(&Gateway::Alipay));
    }

    #[test]
    fn a_wrong_configuration_names_its_provider() {
        let clock: Arc<dyn Clock> = Arc::new(vectors::Stopped);
        let config = wechat_pay::Config { api_v3_key: "short".into(), ..vectors::config("http://127.0.0.1:1") };
        let error = Registry { wechat_pay: Some(config) }.connect(&clock).err().unwrap();
        assert_eq!(error.to_string(), "WeChat Pay: the APIv3 key has 5 bytes; right are exactly 32");
    }
}
