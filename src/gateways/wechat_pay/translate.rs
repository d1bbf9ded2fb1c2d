//! The provider's payments and refunds in our words. What does not say enough is an error, never a guess.

use chrono::DateTime;
use domain::{Currency, Evidence, Money, PaymentId, RefundId, Timestamp};

use super::errors::printable;
use super::wire::{Refund, Trade};
use crate::payments::ports::{GatewayPayment, GatewayRefund, GatewayRefundState};

/// Who we are at the provider.
pub(super) struct Account {
    pub mchid: String,
    pub appid: String,
}

impl Account {
    /// Which field names somebody else; a field that is not there names nobody.
    pub(super) fn foreign(&self, mchid: Option<&str>, appid: Option<&str>) -> Option<&'static str> {
        let other = |said: Option<&str>, ours: &str| said.is_some_and(|said| said != ours);
        if other(mchid, &self.mchid) {
            Some("mchid")
        } else if other(appid, &self.appid) {
            Some("appid")
        } else {
            None
        }
    }
}

/// Reads a verified answer about the payment that we asked for.
pub(super) fn payment(body: &[u8], account: &Account, asked: &PaymentId) -> Result<GatewayPayment, &'static str> {
    let trade: Trade = serde_json::from_slice(body).map_err(|_| "the answer is not a payment")?;
    if trade.out_trade_no != asked.as_str() {
        return Err("the answer is about another payment");
    }
    state(&trade, account)
}

/// Reads a verified answer about the transaction that we asked for: our number of it, and where it stands.
pub(super) fn transaction(
    body: &[u8],
    account: &Account,
    asked: &str,
) -> Result<(String, GatewayPayment), &'static str> {
    let trade: Trade = serde_json::from_slice(body).map_err(|_| "the answer is not a payment")?;
    if trade.transaction_id.as_deref() != Some(asked) {
        return Err("the answer is about another transaction");
    }
    let state = state(&trade, account)?;
    Ok((trade.out_trade_no, state))
}

fn state(trade: &Trade, account: &Account) -> Result<GatewayPayment, &'static str> {
    if account.foreign(trade.mchid.as_deref(), trade.appid.as_deref()).is_some() {
        return Err("the answer is about another merchant or app");
    }
    match trade.trade_state.as_str() {
        "REFUND" => evidence(trade).map(GatewayPayment::Returned),
        state if is_paid(state) => evidence(trade).map(GatewayPayment::Paid),
        "NOTPAY" | "USERPAYING" | "ACCEPT" => Ok(GatewayPayment::Open),
        "CLOSED" | "REVOKED" => Ok(GatewayPayment::Closed),
        "PAYERROR" => Ok(GatewayPayment::Failed(
            trade.trade_state_desc.as_deref().map_or_else(|| "PAYERROR".to_owned(), printable),
        )),
        _ => Err("the answer has an unknown trade_state"),
    }
}

/// `REFUND` says that there is some refund, even of a part or still under way: the money did arrive.
pub(super) fn is_paid(trade_state: &str) -> bool {
    matches!(trade_state, "SUCCESS" | "REFUND")
}

/// What proves a payment: all of it, or it proves nothing. The amount is the order's (`total`), which the
/// merchant settles in, not what the payer paid after coupons.
pub(super) fn evidence(trade: &Trade) -> Result<Evidence, &'static str> {
    let transaction_id = trade.transaction_id.clone().filter(|id| !id.is_empty()).ok_or("no transaction_id")?;
    let amount = trade.amount.as_ref().ok_or("no amount")?;
    let total = amount.total.filter(|fen| *fen > 0).ok_or("no amount.total")?;
    let amount = Money::new(total, currency(amount.currency.as_deref())?);
    Ok(Evidence { transaction_id, amount, paid_at: moment(trade.success_time.as_deref())? })
}

/// Reads a verified answer about the refund that we asked for.
pub(super) fn refund(
    body: &[u8],
    account: &Account,
    asked: &RefundId,
    payment: &PaymentId,
) -> Result<GatewayRefund, &'static str> {
    let refund: Refund = serde_json::from_slice(body).map_err(|_| "the answer is not a refund")?;
    if refund.out_refund_no != asked.as_str() || refund.out_trade_no != payment.as_str() {
        return Err("the answer is about another refund");
    }
    if account.foreign(refund.mchid.as_deref(), None).is_some() {
        return Err("the answer is about another merchant");
    }
    let status = refund.status.as_deref().ok_or("the answer has no status")?;
    refund_as(status, &refund)
}

/// The refund in this status.
pub(super) fn refund_as(status: &str, refund: &Refund) -> Result<GatewayRefund, &'static str> {
    let state = match status {
        "PROCESSING" => GatewayRefundState::Processing,
        "SUCCESS" => GatewayRefundState::Succeeded { at: moment(refund.success_time.as_deref())? },
        "CLOSED" => GatewayRefundState::Closed,
        "ABNORMAL" => GatewayRefundState::Abnormal,
        _ => return Err("the refund has an unknown status"),
    };
    if refund.amount.refund < 1 {
        return Err("no amount.refund");
    }
    let amount = Money::new(refund.amount.refund, currency(refund.amount.currency.as_deref())?);
    Ok(GatewayRefund { amount, state })
}

/// Yuan where nothing is said: direct merchants have no other.
fn currency(code: Option<&str>) -> Result<Currency, &'static str> {
    code.map_or(Ok(Currency::CNY), |code| Currency::parse(code).map_err(|_| "an unknown currency"))
}

fn moment(text: Option<&str>) -> Result<Timestamp, &'static str> {
    let at = DateTime::parse_from_rfc3339(text.ok_or("no success_time")?).map_err(|_| "no readable success_time")?;
    Ok(domain::to_stored(at.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors;
    use serde_json::{Value, json};

    /// A paid payment with some fields changed; `null` takes a field away.
    fn read(changes: &Value) -> Result<GatewayPayment, &'static str> {
        let mut trade = json!({
            "appid": "wxd678efh567hg6787", "mchid": "1900000001", "out_trade_no": vectors::payment().as_str(),
            "transaction_id": "4200000000202601011234567890", "trade_state": "SUCCESS", "trade_state_desc": "x",
            "success_time": "2026-01-01T08:00:05+08:00", "new_field": [1],
            "amount": {"total": 100, "payer_total": 90, "currency": "CNY"},
        });
        change(&mut trade, changes);
        payment(trade.to_string().as_bytes(), &vectors::account(), &vectors::payment())
    }

    fn read_refund(changes: &Value) -> Result<GatewayRefund, &'static str> {
        let mut answer = json!({
            "refund_id": "50300000002026010112345678901", "out_refund_no": vectors::refund().as_str(),
            "out_trade_no": vectors::payment().as_str(), "status": "SUCCESS",
            "success_time": "2026-01-01T08:00:05+08:00", "amount": {"total": 100, "refund": 40, "currency": "CNY"},
        });
        change(&mut answer, changes);
        refund(answer.to_string().as_bytes(), &vectors::account(), &vectors::refund(), &vectors::payment())
    }

    fn change(value: &mut Value, changes: &Value) {
        let object = value.as_object_mut().unwrap();
        for (name, new) in changes.as_object().unwrap() {
            match new {
                Value::Null => object.remove(name),
                new => object.insert(name.clone(), new.clone()),
            };
        }
    }

    fn at() -> Timestamp {
        vectors::now() + domain::Duration::seconds(5)
    }

    #[test]
    fn states_become_ours() {
        let evidence = Evidence {
            transaction_id: "4200000000202601011234567890".to_owned(),
            amount: Money::new(100, Currency::CNY),
            paid_at: at(),
        };
        let paid = GatewayPayment::Paid(evidence.clone());
        let unpaid = |state: &str| {
            read(&json!({"trade_state": state, "transaction_id": null, "success_time": null, "amount": null}))
        };
        assert_eq!(read(&json!({})), Ok(paid.clone()));
        assert_eq!(read(&json!({"trade_state": "REFUND"})), Ok(GatewayPayment::Returned(evidence)));
        assert_eq!(read(&json!({"appid": null, "mchid": null})), Ok(paid));
        for state in ["NOTPAY", "USERPAYING", "ACCEPT"] {
            assert_eq!(unpaid(state), Ok(GatewayPayment::Open), "{state}");
        }
        for state in ["CLOSED", "REVOKED"] {
            assert_eq!(unpaid(state), Ok(GatewayPayment::Closed), "{state}");
        }
        assert_eq!(unpaid("PAYERROR"), Ok(GatewayPayment::Failed("x".to_owned())));
        assert!(unpaid("SOMETHING_NEW").is_err() && unpaid("success").is_err() && unpaid("").is_err());
    }

    #[test]
    fn a_payment_is_paid_with_all_of_its_proof_or_unreadable() {
        let wrong = [
            json!({"transaction_id": null}),
            json!({"transaction_id": ""}),
            json!({"success_time": null}),
            json!({"success_time": "2026-01-01 08:00:05"}),
            json!({"amount": null}),
            json!({"amount": {"currency": "CNY"}}),
            json!({"amount": {"total": 0, "currency": "CNY"}}),
            json!({"amount": {"total": -1, "currency": "CNY"}}),
            json!({"amount": {"total": 1.5, "currency": "CNY"}}),
            json!({"amount": {"total": "100", "currency": "CNY"}}),
            json!({"amount": {"total": 100, "currency": "RMB"}}),
        ];
        for changes in wrong {
            for state in ["SUCCESS", "REFUND"] {
                let mut changes = changes.clone();
                change(&mut changes, &json!({"trade_state": state}));
                assert!(read(&changes).is_err(), "{changes}");
            }
        }
        let dollars = read(&json!({"amount": {"total": 100, "currency": "USD"}}));
        assert!(matches!(dollars, Ok(GatewayPayment::Paid(evidence)) if evidence.amount.currency.code() == "USD"));
    }

    #[test]
    fn an_answer_about_something_else_is_unreadable() {
        for changes in [
            json!({"out_trade_no": "pay_00000000000000000000000002"}),
            json!({"out_trade_no": null}),
            json!({"mchid": "1900000002"}),
            json!({"appid": "wx0"}),
        ] {
            assert!(read(&changes).is_err(), "{changes}");
        }
        for changes in [
            json!({"out_refund_no": "rfd_00000000000000000000000002"}),
            json!({"out_trade_no": "pay_00000000000000000000000002"}),
            json!({"mchid": "1900000002"}),
            json!({"out_refund_no": null}),
            json!({"out_trade_no": null}),
        ] {
            assert!(read_refund(&changes).is_err(), "{changes}");
        }
        for text in ["", "[]", "null", "{}", "<html>"] {
            assert!(payment(text.as_bytes(), &vectors::account(), &vectors::payment()).is_err(), "{text}");
            assert!(
                refund(text.as_bytes(), &vectors::account(), &vectors::refund(), &vectors::payment()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn refunds_become_ours() {
        let refund = |state| Ok(GatewayRefund { amount: Money::new(40, Currency::CNY), state });
        let with = |status: &str| read_refund(&json!({"status": status, "success_time": null}));
        assert_eq!(read_refund(&json!({})), refund(GatewayRefundState::Succeeded { at: at() }));
        assert_eq!(with("PROCESSING"), refund(GatewayRefundState::Processing));
        assert_eq!(with("CLOSED"), refund(GatewayRefundState::Closed));
        assert_eq!(with("ABNORMAL"), refund(GatewayRefundState::Abnormal));
        assert!(with("SUCCESS").is_err(), "no moment");
        assert!(with("SOMETHING_NEW").is_err());
        assert!(read_refund(&json!({"status": null})).is_err());
        assert!(read_refund(&json!({"amount": {"total": 100}})).is_err());
        assert!(read_refund(&json!({"amount": {"refund": 0}})).is_err());
    }
}
