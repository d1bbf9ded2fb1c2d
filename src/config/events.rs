//! Where events go: RabbitMQ, a webhook, both or neither.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{SecretSlice, SecretString};

use super::{ConfigError, Values, wrong};

/// Where events go.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// `PAYONCE_AMQP_*`; `None`: not to RabbitMQ.
    pub amqp: Option<Amqp>,
    /// `PAYONCE_WEBHOOK_*`; `None`: to no webhook.
    pub webhook: Option<Webhook>,
}

/// RabbitMQ.
#[derive(Clone, Debug)]
pub struct Amqp {
    /// `PAYONCE_AMQP_URL`: `amqp://` or `amqps://`, with user and password in it.
    pub url: SecretString,
    /// `PAYONCE_AMQP_EXCHANGE`
    pub exchange: String,
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// `PAYONCE_WEBHOOK_URL`; it may say more than everybody is to know.
    pub url: SecretString,
    /// `PAYONCE_WEBHOOK_SECRET`: each signs; several while one takes over from another.
    pub secrets: Vec<SecretSlice<u8>>,
}

/// What every written secret begins with.
const PREFIX: &str = "whsec_";

impl Values {
    pub(super) fn events(&self, dev: bool) -> Result<Events, ConfigError> {
        Ok(Events { amqp: self.amqp()?, webhook: self.webhook(dev)? })
    }

    fn amqp(&self) -> Result<Option<Amqp>, ConfigError> {
        let exchange = self.text("amqp_exchange", "payonce.events");
        if exchange.len() > 127 || exchange.starts_with("amq.") || !exchange.bytes().all(|b| b.is_ascii_graphic()) {
            let right = "right are 1 to 127 visible ASCII characters that do not begin with amq.";
            return Err(wrong("amqp_exchange", format!("{exchange:?} is no name of an exchange; {right}")));
        }
        let Some(url) = self.get("amqp_url") else { return Ok(None) };
        let rest = url.strip_prefix("amqps://").or_else(|| url.strip_prefix("amqp://"));
        if !rest.is_some_and(|rest| names_a_host(rest) && !rest.contains(['#', ' '])) {
            return Err(wrong(
                "amqp_url",
                "is not an AMQP URL; right is like amqps://user:password@rabbit.example.com/shop",
            ));
        }
        Ok(Some(Amqp { url: url.into(), exchange }))
    }

    fn webhook(&self, dev: bool) -> Result<Option<Webhook>, ConfigError> {
        let (url, secrets) = (self.get("webhook_url"), self.get("webhook_secret"));
        let Some(url) = url else {
            return match secrets {
                None => Ok(None),
                Some(_) => Err(wrong("webhook_url", "is missing, though PAYONCE_WEBHOOK_SECRET is set")),
            };
        };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://").filter(|_| dev));
        if !rest.is_some_and(|rest| names_a_host(rest) && !rest.contains(['#', ' '])) {
            let right = "right is like https://shop.example.com/payonce";
            return Err(wrong(
                "webhook_url",
                format!("is not an https:// URL (http:// in the dev profile only); {right}"),
            ));
        }
        let secrets = secrets
            .ok_or_else(|| wrong("webhook_secret", "is missing; make one: echo whsec_$(openssl rand -base64 32)"))?;
        let secrets: Option<Vec<_>> = secrets.split(',').map(|one| secret(one.trim())).collect();
        let secrets = secrets.ok_or_else(|| {
            let right = "right is whsec_ and the base64 of 24 to 64 random bytes; two, while one takes over from the other, with a comma between";
            wrong("webhook_secret", format!("does not fit; {right}"))
        })?;
        Ok(Some(Webhook { url: url.into(), secrets }))
    }
}

/// What stands between the scheme and the path, without user and password, is something.
fn names_a_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    !host.is_empty() && !host.starts_with(':')
}

fn secret(text: &str) -> Option<SecretSlice<u8>> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    (24..=64).contains(&bytes.len()).then(|| bytes.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::Config;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn from(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from(BTreeMap::new(), environment).map_err(|e| e.to_string())
    }

    #[test]
    fn a_wrong_value_names_its_variable_and_shows_no_secret() {
        let url = ("PAYONCE_WEBHOOK_URL", "https://shop.example.com/hook");
        type Given<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Given<'_>, &str, &str); 9] = [
            (&[("PAYONCE_AMQP_URL", "http://u:hunter2@x")], "PAYONCE_AMQP_URL", "amqps://user"),
            (&[("PAYONCE_AMQP_URL", "amqp://u:hunter2@/x")], "PAYONCE_AMQP_URL", "amqps://user"),
            (&[("PAYONCE_AMQP_EXCHANGE", "amq.topic")], "PAYONCE_AMQP_EXCHANGE", "127"),
            (&[("PAYONCE_WEBHOOK_URL", "ftp://hunter2")], "PAYONCE_WEBHOOK_URL", "https://"),
            (&[("PAYONCE_WEBHOOK_SECRET", SECRET)], "PAYONCE_WEBHOOK_URL", "is missing"),
            (&[url], "PAYONCE_WEBHOOK_SECRET", "is missing"),
            (&[url, ("PAYONCE_WEBHOOK_SECRET", "hunter2")], "PAYONCE_WEBHOOK_SECRET", "whsec_"),
            (&[url, ("PAYONCE_WEBHOOK_SECRET", "whsec_aHVudGVyMg==")], "PAYONCE_WEBHOOK_SECRET", "24 to 64"),
            (&[url, ("PAYONCE_WEBHOOK_SECRET", "whsec_hunter2!")], "PAYONCE_WEBHOOK_SECRET", "whsec_"),
        ];
        for (given, variable, hint) in cases {
            let line = from(given).unwrap_err();
            assert!(line.starts_with(variable) && line.contains(hint) && !line.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn both_may_be_set_and_do_not_show() {
        let two = format!("{SECRET}, {SECRET}");
        let config = from(&[
            ("PAYONCE_AMQP_URL", "amqp://payonce:hunter2@rabbit:5672/shop"),
            ("PAYONCE_WEBHOOK_URL", "http://127.0.0.1:9/hunter2"),
            ("PAYONCE_WEBHOOK_SECRET", &two),
        ])
        .unwrap();
        let webhook = config.events.webhook.as_ref().unwrap();
        assert_eq!(webhook.secrets.len(), 2);
        assert_eq!(config.events.amqp.as_ref().unwrap().exchange, "payonce.events");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("MfKQ9"), "{shown}");
    }
}
