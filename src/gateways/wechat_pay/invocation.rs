//! What the payer's page or app calls WeChat with after a prepay, signed with the merchant's key.
//!
//! Source: WeChat Pay API v3, "JSAPI invocation" and "App invocation". Native and H5 need nothing signed.

use aws_lc_rs::error::Unspecified;
use domain::{ClientAction, Timestamp};

use super::signature::{Signer, nonce};
use super::translate::Account;
use super::wire;
use crate::payments::ports::GatewayError;

/// Who invites the payer, and when.
pub(super) struct Invocation<'a> {
    pub account: &'a Account,
    pub signer: &'a Signer,
    pub at: Timestamp,
}

impl Invocation<'_> {
    /// For WeChat's browser and mini programs; a mini program's call leaves `appId` out.
    pub(super) fn jsapi(&self, prepay_id: &str) -> Result<ClientAction, GatewayError> {
        nonce().and_then(|nonce| self.jsapi_with(prepay_id, nonce)).map_err(not_signed)
    }

    /// For WeChat's SDK in a mobile app.
    pub(super) fn app(&self, prepay_id: &str) -> Result<ClientAction, GatewayError> {
        let parameters = nonce().and_then(|nonce| self.app_with(prepay_id, &nonce)).map_err(not_signed)?;
        Ok(ClientAction::AppInvocation { parameters })
    }

    fn jsapi_with(&self, prepay_id: &str, nonce: String) -> Result<ClientAction, Unspecified> {
        let package = format!("prepay_id={prepay_id}");
        let (time_stamp, pay_sign) = self.signed(&nonce, &package)?;
        let app_id = self.account.appid.clone();
        Ok(ClientAction::WechatJsapi {
            app_id,
            time_stamp,
            nonce_str: nonce,
            package,
            sign_type: "RSA".to_owned(),
            pay_sign,
        })
    }

    /// The bare id is signed here, not the package.
    fn app_with(&self, prepay_id: &str, nonce: &str) -> Result<String, Unspecified> {
        let (timestamp, sign) = self.signed(nonce, prepay_id)?;
        let parameters = wire::AppInvocation {
            appid: &self.account.appid,
            partnerid: &self.account.mchid,
            prepayid: prepay_id,
            package: "Sign=WXPay",
            noncestr: nonce,
            timestamp: &timestamp,
            sign: &sign,
        };
        serde_json::to_string(&parameters).map_err(|_| Unspecified)
    }

    /// The timestamp and the signature over all four.
    fn signed(&self, nonce: &str, what: &str) -> Result<(String, String), Unspecified> {
        let timestamp = self.at.timestamp().to_string();
        let message = format!("{}\n{timestamp}\n{nonce}\n{what}\n", self.account.appid);
        let signature = self.signer.sign(message.as_bytes())?;
        Ok((timestamp, signature))
    }
}

/// The payment is open at the provider all the same: asking finds it, and opening it again is the same.
fn not_signed(_: Unspecified) -> GatewayError {
    GatewayError::Unknown("the payment is open, but what the payer needs could not be signed".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::gateways::wechat_pay::vectors::{self, text};

    fn with<T>(act: impl FnOnce(&Invocation<'_>) -> T) -> T {
        let (account, connector) = (vectors::account(), vectors::wechat_pay("http://127.0.0.1:1"));
        act(&Invocation { account: &account, signer: &connector.client.signer, at: vectors::now() })
    }

    #[test]
    fn a_page_is_handed_what_the_vectors_say_byte_for_byte() {
        let vector = &vectors::client_paysign()["jsapi"];
        let nonce = text(&vector["invoke"]["nonceStr"]).to_owned();
        let action = with(|it| it.jsapi_with(text(&vector["prepay_id"]), nonce)).unwrap();
        let ClientAction::WechatJsapi { app_id, time_stamp, nonce_str, package, sign_type, pay_sign } = action else {
            panic!("{action:?}");
        };
        let handed = json!({
            "appId": app_id, "timeStamp": time_stamp, "nonceStr": nonce_str, "package": package,
            "signType": sign_type, "paySign": pay_sign,
        });
        assert_eq!(handed, vector["invoke"]);
    }

    #[test]
    fn an_app_is_handed_what_the_vectors_say_byte_for_byte() {
        let vector = &vectors::client_paysign()["app"];
        let nonce = text(&vector["invoke"]["noncestr"]);
        let parameters = with(|it| it.app_with(text(&vector["prepay_id"]), nonce)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&parameters).unwrap(), vector["invoke"]);
        let start = "{\"appid\":\"wxd678efh567hg6787\",\"partnerid\":\"1900000001\",\"prepayid\":\"wx2611";
        assert!(parameters.starts_with(start), "{parameters}");
    }

    #[test]
    fn every_invocation_has_its_own_nonce() {
        assert_ne!(with(|it| it.jsapi("wx1")).unwrap(), with(|it| it.jsapi("wx1")).unwrap());
        assert_ne!(with(|it| it.app("wx1")).unwrap(), with(|it| it.app("wx1")).unwrap());
    }
}
