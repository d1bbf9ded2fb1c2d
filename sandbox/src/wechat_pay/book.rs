//! The gateway's book of orders and refunds: every rule about more than one field, and no I/O.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    notification::Event,
    numbers,
    order::{Order, OrderState, Prepay},
    refund::{Ending, Refund, RefundRequest},
    refusal::Refusal,
};
use crate::{
    cashier::{Bill, BillState, PayError},
    faults::FaultKind,
    ledger::{Charge, RefundedMoney},
    outbox::{Content, Letter},
    state::Journal,
};

const MOST_REFUNDS: usize = 50;
const CURRENCY: &str = "CNY";

/// One merchant's orders and refunds, by the merchant's numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    orders: BTreeMap<String, Order>,
    refunds: BTreeMap<String, Refund>,
    /// Numbers of orders by transaction.
    transactions: BTreeMap<String, String>,
    /// Numbers of refunds by order.
    refunds_of: BTreeMap<String, Vec<String>>,
    /// Refunds being processed, and until when.
    processing: BTreeSet<(DateTime<Utc>, String)>,
}

impl Book {
    /// Opens an order, or finds it again.
    pub(super) fn open(&mut self, prepay: Prepay, now: DateTime<Utc>) -> Result<&mut Order, Refusal> {
        let known = self.orders.get_mut(&prepay.number);
        if let Some(order) = known {
            order.reopen(&prepay, now)?;
        }
        let number = prepay.number.clone();
        let order = self.orders.entry(number);
        Ok(order.or_insert_with(|| Order::open(prepay, now)))
    }

    pub(super) fn order(&mut self, number: &str) -> Result<&mut Order, Refusal> {
        self.orders.get_mut(number).ok_or_else(Refusal::no_such_order)
    }

    pub(super) fn number_of_transaction(&self, transaction_id: &str) -> Option<&str> {
        self.transactions.get(transaction_id).map(String::as_str)
    }

    /// The order behind an `h5_url`: its number, and whether the link still works.
    pub(super) fn h5_link(&self, prepay_id: &str, now: DateTime<Utc>) -> Option<(&str, bool)> {
        let order = self.orders.values().find(|order| order.prepay_id == prepay_id)?;
        Some((&order.prepay.number, order.h5_link_works(now)?))
    }

    /// Every order, by number.
    pub(super) fn orders(&self) -> &BTreeMap<String, Order> {
        &self.orders
    }

    /// Every refund.
    pub(super) fn refunds(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.values()
    }

    pub(super) fn refund_numbered(&self, number: &str) -> Result<&Refund, Refusal> {
        self.refunds.get(number).ok_or_else(Refusal::no_such_resource)
    }

    /// What the cashier shows of an order.
    pub(crate) fn bill(&mut self, number: &str, now: DateTime<Utc>) -> Option<Bill> {
        let order = self.orders.get_mut(number)?;
        let declined = order.declined;
        let state = match order.state(now) {
            OrderState::Open if declined => BillState::Declined,
            OrderState::Open => BillState::Open,
            OrderState::Paid { .. } => BillState::Paid,
            OrderState::Closed => BillState::Closed,
            OrderState::Expired => BillState::Expired,
        };
        Some(Bill {
            number: number.to_owned(),
            gateway: "WeChat Pay",
            description: order.prepay.description.clone(),
            minor: order.prepay.total,
            expires_at: order.expires_at,
            state,
            return_url: None,
        })
    }

    pub(crate) fn knows(&self, number: &str) -> bool {
        self.orders.contains_key(number)
    }

    /// The payer pays: money moves, once, and the merchant is told.
    pub(crate) fn pay(
        &mut self,
        number: &str,
        fault: Option<FaultKind>,
        now: DateTime<Utc>,
        journal: &mut Journal,
    ) -> Result<(), PayError> {
        let order = self.orders.get_mut(number).ok_or(PayError::Unknown)?;
        order.bend(fault, now);
        let state = order.state(now);
        match state {
            OrderState::Open => {}
            OrderState::Paid { .. } => return Err(PayError::AlreadyPaid),
            OrderState::Closed => return Err(PayError::Closed),
            OrderState::Expired => return Err(PayError::Expired),
        }
        let transaction_id = numbers::transaction_id(now);
        *state = OrderState::Paid { transaction_id: transaction_id.clone(), at: now, refunded: false };
        self.transactions.insert(transaction_id, number.to_owned());
        journal.ledger.charges.push(Charge {
            number: number.to_owned(),
            gateway: "wechat_pay".to_owned(),
            minor: order.prepay.total,
            currency: order.currency().to_owned(),
            paid_at: now,
        });
        let event = Event::paid(order.answer(now));
        let url = order.prepay.notify_url.clone();
        journal.outbox.put(letter(number, url, event, now));
        Ok(())
    }

    /// The payer declines; the order stays open for another attempt.
    pub(crate) fn decline(&mut self, number: &str, now: DateTime<Utc>) -> Result<(), PayError> {
        let order = self.orders.get_mut(number).ok_or(PayError::Unknown)?;
        match order.state(now) {
            OrderState::Open => order.declined = true,
            OrderState::Paid { .. } => return Err(PayError::AlreadyPaid),
            OrderState::Closed => return Err(PayError::Closed),
            OrderState::Expired => return Err(PayError::Expired),
        }
        Ok(())
    }

    /// Accepts a refund, to be done at `done_at`, or finds it again. The frequency is looked at
    /// last: what can never succeed is not told to come back later.
    pub(super) fn refund(
        &mut self,
        request: RefundRequest,
        ending: Ending,
        now: DateTime<Utc>,
        done_at: DateTime<Utc>,
    ) -> Result<&Refund, Refusal> {
        if let Some(known) = self.refunds.get(&request.number) {
            if known.request.request != request.request {
                return Err(Refusal::invalid_request("退款单号已存在，但请求参数与之前不一致"));
            }
            return Ok(&self.refunds[&request.number]);
        }
        let payment_number = self.payment_of(&request)?;
        let transaction_id = self.refundable(&payment_number, &request, now)?;
        let number = request.number.clone();
        let refund = Refund {
            refund_id: numbers::refund_id(now),
            transaction_id,
            payment_number: payment_number.clone(),
            created_at: now,
            ending,
            ended_at: None,
            request,
        };
        self.processing.insert((done_at, number.clone()));
        self.refunds_of.entry(payment_number).or_default().push(number.clone());
        Ok(self.refunds.entry(number).or_insert(refund))
    }

    fn payment_of(&self, request: &RefundRequest) -> Result<String, Refusal> {
        let by_transaction = request.transaction_id.as_ref().map(|id| self.transactions.get(id));
        match (by_transaction, &request.payment_number) {
            (None, Some(number)) => Ok(number.clone()),
            (Some(Some(by_id)), None) => Ok(by_id.clone()),
            (Some(Some(by_id)), Some(number)) if by_id == number => Ok(by_id.clone()),
            (Some(Some(_)), Some(_)) => Err(Refusal::invalid_request("两个订单号不属于同一订单")),
            (Some(None) | None, _) => Err(Refusal::no_such_resource()),
        }
    }

    /// Checks the refund against its order and the earlier refunds, and marks the order. Returns
    /// the order's transaction.
    fn refundable(
        &mut self,
        payment_number: &str,
        request: &RefundRequest,
        now: DateTime<Utc>,
    ) -> Result<String, Refusal> {
        let order = self.orders.get_mut(payment_number);
        let order = order.ok_or_else(Refusal::no_such_resource)?;
        let total = order.prepay.total;
        let OrderState::Paid { transaction_id, at, refunded } = order.state(now) else {
            return Err(Refusal::invalid_request("订单未支付，不能退款"));
        };
        if request.total != total {
            return Err(Refusal::invalid_request("订单金额与原订单不一致"));
        }
        if now - *at > TimeDelta::days(365) {
            return Err(Refusal::invalid_request("交易已超过一年，不能退款"));
        }
        let numbers = self.refunds_of.get(payment_number).into_iter().flatten();
        let earlier: Vec<_> = numbers.filter_map(|number| self.refunds.get(number)).collect();
        let held = earlier.iter().filter(|refund| refund.holds_money());
        let held: i64 = held.map(|refund| refund.request.refund).sum();
        if request.refund > total - held {
            return Err(Refusal::invalid_request("累计退款金额大于订单金额"));
        }
        if earlier.len() >= MOST_REFUNDS {
            return Err(Refusal::invalid_request("订单退款次数超过50次"));
        }
        let last = earlier.iter().map(|refund| refund.created_at).max();
        if last.is_some_and(|last| now - last < TimeDelta::minutes(1)) {
            return Err(Refusal::too_often());
        }
        *refunded = true;
        Ok(transaction_id.clone())
    }

    pub(crate) fn next_refund_due(&self) -> Option<DateTime<Utc>> {
        self.processing.first().map(|(at, _)| *at)
    }

    /// Ends the refunds whose time has come; says whether there were any.
    pub(crate) fn complete_refunds(&mut self, now: DateTime<Utc>, journal: &mut Journal) -> bool {
        let mut any = false;
        while self.next_refund_due().is_some_and(|at| at <= now) {
            let Some((at, number)) = self.processing.pop_first() else {
                break;
            };
            any |= self.end_refund(&number, at, now, journal).is_some();
        }
        any
    }

    fn end_refund(&mut self, number: &str, at: DateTime<Utc>, now: DateTime<Utc>, journal: &mut Journal) -> Option<()> {
        let refund = self.refunds.get_mut(number)?;
        refund.ended_at = Some(at);
        if refund.ending == Ending::Success {
            journal.ledger.refunds.push(RefundedMoney {
                number: number.to_owned(),
                payment_number: refund.payment_number.clone(),
                minor: refund.request.refund,
                currency: CURRENCY.to_owned(),
            });
        }
        if let Some(url) = refund.request.notify_url.clone() {
            let order = self.orders.get(&refund.payment_number)?;
            let plaintext: Value = refund.to_notice(&order.prepay.mchid);
            let event = Event::refunded(refund.ending, plaintext);
            journal.outbox.put(letter(number, url, event, now));
        }
        Some(())
    }
}

fn letter(number: &str, url: String, event: Event, now: DateTime<Utc>) -> Letter {
    Letter {
        id: numbers::event_id(now),
        number: number.to_owned(),
        url,
        created_at: now,
        due_at: now,
        failures: 0,
        content: Content::WechatPay(event),
    }
}
