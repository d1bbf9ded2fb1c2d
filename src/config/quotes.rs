//! `PAYONCE_QUOTE_KEYS_FILE` and `PAYONCE_QUOTE_ISSUER`: the shop's pricing service, whose quotes are orders' other
//! prices.

use super::{ConfigError, PemFile, Values, wrong};

/// The shop's pricing service.
#[derive(Clone, Debug)]
pub struct Quotes {
    /// `PAYONCE_QUOTE_KEYS_FILE`: its public keys, a JWKS.
    pub keys: PemFile,
    /// `PAYONCE_QUOTE_ISSUER`: what `iss` must say.
    pub issuer: String,
}

impl Values {
    /// Keys and issuer, or neither. The issuer is not the tokens' own: a quote must never pass for a login.
    pub(super) fn quotes(&self, token_issuer: &str) -> Result<Option<Quotes>, ConfigError> {
        let issuer = match (self.get("quote_keys_file"), self.get("quote_issuer")) {
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(wrong("quote_issuer", "is missing; right is what iss says in the quotes")),
            (_, Some(issuer)) => issuer,
        };
        if issuer == token_issuer {
            let words =
                "is PAYONCE_JWT_ISSUER too, and a quote could pass for a token; give the pricing service its own";
            return Err(wrong("quote_issuer", words));
        }
        if issuer.len() > 255 {
            return Err(wrong("quote_issuer", "has more than 255 bytes"));
        }
        Ok(Some(Quotes { keys: self.pem_file("quote_keys_file")?, issuer }))
    }
}
