//! The methods of `gateway.do`.

use serde_json::Value;

use super::{book::Book, order::Product};
use crate::calls::Call;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Open(Product),
    Query,
    Close,
    Cancel,
    Refund,
    RefundQuery,
    BillUrl,
}

const METHODS: [(&str, Method); 10] = [
    ("alipay.trade.precreate", Method::Open(Product::QrCode)),
    ("alipay.trade.page.pay", Method::Open(Product::Page)),
    ("alipay.trade.wap.pay", Method::Open(Product::Wap)),
    ("alipay.trade.app.pay", Method::Open(Product::App)),
    ("alipay.trade.query", Method::Query),
    ("alipay.trade.close", Method::Close),
    ("alipay.trade.cancel", Method::Cancel),
    ("alipay.trade.refund", Method::Refund),
    ("alipay.trade.fastpay.refund.query", Method::RefundQuery),
    ("alipay.data.dataservice.bill.downloadurl.query", Method::BillUrl),
];

impl Method {
    pub(super) fn named(name: &str) -> Option<Self> {
        METHODS.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }

    /// The node of its answer: the name with underscores.
    pub(super) fn node(self) -> String {
        let name = METHODS.iter().find(|(_, method)| *method == self).map_or("error", |(name, _)| *name);
        name.replace('.', "_") + "_response"
    }

    pub(super) fn call(self) -> Call {
        match self {
            Self::Open(_) => Call::Open,
            Self::Query => Call::Find,
            Self::Close | Self::Cancel => Call::Close,
            Self::Refund => Call::Refund,
            Self::RefundQuery => Call::FindRefund,
            Self::BillUrl => Call::Bill,
        }
    }

    /// Whether the payer's browser asks, not the merchant's server.
    pub(super) fn is_for_browsers(self) -> bool {
        matches!(self, Self::Open(Product::Page | Product::Wap | Product::App))
    }

    /// The number of the payment, for refunds of the refund, that a call is about.
    pub(super) fn number(self, content: &Value, book: &Book) -> Option<String> {
        let text = |name: &str| content[name].as_str().map(str::to_owned);
        let refund = match self {
            Self::Refund | Self::RefundQuery => text("out_request_no"),
            Self::Open(_) | Self::Query | Self::Close | Self::Cancel | Self::BillUrl => None,
        };
        let by_trade = || book.number_of(content["trade_no"].as_str()?).map(str::to_owned);
        refund.or_else(by_trade).or_else(|| text("out_trade_no"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_after_its_method() {
        let refund_query = Method::named("alipay.trade.fastpay.refund.query").expect("known");
        assert_eq!(refund_query.node(), "alipay_trade_fastpay_refund_query_response");
        assert_eq!(Method::named("alipay.trade.create"), None);
        for (name, method) in METHODS {
            assert_eq!(Method::named(name), Some(method));
        }
    }
}
