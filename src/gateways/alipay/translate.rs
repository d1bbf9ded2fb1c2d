//! The provider's payments and refunds in our words. What does not say enough is an error, never a guess.

use std::cmp::Ordering;

use domain::{Evidence, Money, PaymentId, RefundId, Timestamp};

use super::beijing;
use super::wire::{Closed, Found, FoundRefund, Refunded};
use super::yuan::Yuan;
use crate::payments::ports::{GatewayPayment, GatewayRefund, GatewayRefundState, RefundRequest};

/// Reads a verified answer about the payment that we asked for.
pub(super) fn payment(answer: &str, asked: &PaymentId) -> Result<GatewayPayment, &'static str> {
    let trade: Found = serde_json::from_str(answer).map_err(|_| "the answer is not a payment")?;
    if trade.out_trade_no != asked.as_str() {
        return Err("the answer is about another payment");
    }
    let paid = || evidence(trade.trade_no.as_deref(), trade.total_amount, trade.send_pay_date.as_deref());
    match trade.trade_status.as_str() {
        "WAIT_BUYER_PAY" => Ok(GatewayPayment::Open),
        state if is_paid(state) => paid().map(GatewayPayment::Paid),
        // Closed unpaid, or paid and all of it refunded: the moment of payment tells.
        "TRADE_CLOSED" if trade.send_pay_date.is_some() => paid().map(GatewayPayment::Returned),
        "TRADE_CLOSED" if trade.receipt_amount.is_some_and(|amount| !amount.is_nothing()) => {
            Err("the answer says closed with money, but not when it was paid")
        }
        "TRADE_CLOSED" => Ok(GatewayPayment::Closed),
        _ => Err("the answer has an unknown trade_status"),
    }
}

/// Partial refunds leave a trade at `TRADE_SUCCESS`; `TRADE_FINISHED` can no longer be refunded.
pub(super) fn is_paid(trade_status: &str) -> bool {
    matches!(trade_status, "TRADE_SUCCESS" | "TRADE_FINISHED")
}

/// What proves a payment: all of it, or it proves nothing. The amount is the order's (`total_amount`), which
/// the merchant settles in, not what the payer paid after coupons.
pub(super) fn evidence(
    trade_no: Option<&str>,
    total_amount: Option<Yuan>,
    paid_at: Option<&str>,
) -> Result<Evidence, &'static str> {
    Ok(Evidence {
        transaction_id: trade_no.filter(|no| !no.is_empty()).ok_or("no trade_no")?.to_owned(),
        amount: total_amount.ok_or("no total_amount")?.more_than_nothing()?,
        paid_at: beijing::read(paid_at.ok_or("no moment of payment")?)?,
    })
}

/// Checks that a verified answer is about the payment that we closed.
pub(super) fn closed(answer: &str, asked: &PaymentId) -> Result<(), &'static str> {
    let closed: Closed = serde_json::from_str(answer).map_err(|_| "the answer names no payment")?;
    if closed.out_trade_no == asked.as_str() { Ok(()) } else { Err("the answer is about another payment") }
}

/// Reads a verified answer to a refund. `None`: it does not say what became of it, so ask. Only
/// `fund_change=Y` says that the money moved; `N` is a repeat of one that did, or of one that did not. Of all
/// refunds together it tells the sum: where that is more than ours, only a question tells how much ours was.
pub(super) fn refund(
    answer: &str,
    request: &RefundRequest,
    now: Timestamp,
) -> Result<Option<GatewayRefund>, &'static str> {
    let refund: Refunded = serde_json::from_str(answer).map_err(|_| "the answer is not a refund")?;
    if refund.out_trade_no != request.payment.as_str() {
        return Err("the answer is about another payment");
    }
    if refund.fund_change.as_deref() != Some("Y") {
        return Ok(None);
    }
    let (all, ours) = (refund.refund_fee, Yuan::of(request.amount).ok());
    match all.zip(ours).map(|(all, ours)| all.cmp(&ours)) {
        // The answer does not name the refund; with less than ours in it, it is not about ours.
        Some(Ordering::Less) => Err("the answer says less than was asked back"),
        Some(Ordering::Greater) => Ok(None),
        Some(Ordering::Equal) | None => Ok(Some(succeeded(request.amount, refund.gmt_refund_pay.as_deref(), now))),
    }
}

/// Reads a verified answer about the refund that we asked for. `None`: the provider says success, and nothing
/// more: it has never seen that number, or not yet.
pub(super) fn found_refund(
    answer: &str,
    asked: &RefundId,
    payment: &PaymentId,
    now: Timestamp,
) -> Result<Option<GatewayRefund>, &'static str> {
    let refund: FoundRefund = serde_json::from_str(answer).map_err(|_| "the answer is not a refund")?;
    let other = |said: &Option<String>, ours: &str| said.as_deref().is_some_and(|said| said != ours);
    if other(&refund.out_request_no, asked.as_str()) || other(&refund.out_trade_no, payment.as_str()) {
        return Err("the answer is about another refund");
    }
    match refund.refund_status.as_deref() {
        None | Some("") => Ok(None),
        Some("REFUND_SUCCESS") => {
            if refund.out_request_no.is_none() || refund.out_trade_no.is_none() {
                return Err("the answer does not say which refund");
            }
            let amount = refund.refund_amount.ok_or("no refund_amount")?.more_than_nothing()?;
            Ok(Some(succeeded(amount, refund.gmt_refund_pay.as_deref(), now)))
        }
        Some(_) => Err("the answer has an unknown refund_status"),
    }
}

/// The moment does not prove the refund: where it is missing or unreadable, it is when we learned of it.
fn succeeded(amount: Money, at: Option<&str>, now: Timestamp) -> GatewayRefund {
    let at = at.and_then(|at| beijing::read(at).ok()).unwrap_or(now);
    GatewayRefund { amount, state: GatewayRefundState::Succeeded { at } }
}
