//! The public parameters of a request, and its signature.

use std::sync::Arc;

use reqwest::Url;
use serde::Serialize;

use super::beijing;
use super::certificates::Numbers;
use super::form::{self, Fields};
use super::signature::Signer;
use crate::payments::ports::{Clock, GatewayError};

/// Makes requests of one app.
pub(super) struct Requests {
    pub app_id: String,
    pub signer: Signer,
    /// Certificate mode only.
    pub certificates: Option<Numbers>,
    pub clock: Arc<dyn Clock>,
}

/// Where the gateway is to tell us, and where it is to send browsers back to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urls<'a> {
    pub notify: Option<&'a str>,
    pub back: Option<&'a str>,
}

impl Requests {
    /// A signed request of this moment. Empty parameters are never sent: SDKs differ in whether they are signed.
    pub(super) fn sign(&self, method: &str, urls: Urls<'_>, content: &impl Serialize) -> Result<Request, GatewayError> {
        let content = serde_json::to_string(content).map_err(|why| GatewayError::NotSent(why.to_string()))?;
        let timestamp = beijing::write(self.clock.now());
        let numbers = self.certificates.as_ref();
        let fields = [
            ("app_cert_sn", numbers.map_or("", |numbers| &numbers.app)),
            ("alipay_root_cert_sn", numbers.map_or("", |numbers| &numbers.root)),
            ("app_id", self.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &timestamp),
            ("version", "1.0"),
            ("notify_url", urls.notify.unwrap_or_default()),
            ("return_url", urls.back.unwrap_or_default()),
            (CONTENT, &content),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let mut fields: Fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let not_signed = |_| GatewayError::NotSent("the request could not be signed".to_owned());
        let sign = self.signer.sign(&fields).map_err(not_signed)?;
        fields.insert("sign".to_owned(), sign);
        Ok(Request(fields))
    }
}

/// The one parameter that travels in a body, where there is one.
const CONTENT: &str = "biz_content";

/// A signed request.
pub(super) struct Request(Fields);

impl Request {
    /// Everything in one line: for the mobile SDK.
    pub(super) fn line(&self) -> String {
        form::encode(&self.0)
    }

    /// Everything in an address: for a browser that is sent there.
    pub(super) fn address(&self, gateway: &Url) -> String {
        format!("{gateway}?{}", self.line())
    }

    /// The address without the content, and the content: for a POST.
    pub(super) fn parts(&self, gateway: &Url) -> (String, &str) {
        let public = form::encode(self.0.iter().filter(|(name, _)| *name != CONTENT));
        (format!("{gateway}?{public}"), self.0.get(CONTENT).map_or("", String::as_str))
    }

    /// The body of a POST.
    pub(super) fn body(content: &str) -> String {
        format!("{CONTENT}={}", form::escape(content))
    }

    /// A form that posts itself as soon as it is in a page: the content in a hidden field, all else in the
    /// action. It says its own charset, for a page's may be another. Where scripts do not run, submitting it
    /// does the same.
    pub(super) fn html(&self, gateway: &Url) -> String {
        let (action, content) = self.parts(gateway);
        format!(
            "<form method=\"post\" accept-charset=\"utf-8\" action=\"{}\">\
             <input type=\"hidden\" name=\"{CONTENT}\" value=\"{}\"></form>\
             <script>document.currentScript.previousElementSibling.submit()</script>",
            quoted(&action),
            quoted(content),
        )
    }
}

/// Text between double quotes in HTML.
fn quoted(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('\'', "&#39;").replace('<', "&lt;").replace('>', "&gt;")
}
