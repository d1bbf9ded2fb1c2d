//! The gateway's book of trades: every rule about more than one field, and no I/O.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    amount::yuan,
    answer::{Fields, Refusal},
    bills::Link,
    notification::Event,
    numbers,
    order::{Content, Order},
    parameters::TIME,
    trade::{Refund, Status, Trade},
};
use crate::{
    cashier::PayError,
    clock::beijing,
    faults::FaultKind,
    ledger::{Charge, RefundedMoney},
    outbox::{Content as Message, Letter},
    state::Journal,
};

const CURRENCY: &str = "CNY";
const CANCELLABLE: TimeDelta = TimeDelta::hours(24);

/// One merchant's trades, by the merchant's numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    trades: BTreeMap<String, Trade>,
    /// The merchant's numbers by the gateway's.
    numbers: BTreeMap<String, String>,
    /// Addresses of bills that were handed out.
    #[serde(skip)]
    pub(super) bills: Vec<Link>,
}

/// Which trade is meant: the gateway's number wins over the merchant's.
pub(super) struct Reference {
    trade_no: Option<String>,
    number: Option<String>,
}

impl Reference {
    pub(super) fn read(fields: &Content<'_>) -> Result<Self, Refusal> {
        let (trade_no, number) = (fields.optional("trade_no", 64)?, fields.optional("out_trade_no", 64)?);
        if trade_no.is_none() && number.is_none() {
            return Err(Refusal::parameter("out_trade_no", "与trade_no不能同时为空"));
        }
        Ok(Self { trade_no, number })
    }

    /// What a refusal says of it.
    pub(super) fn names(&self) -> Fields {
        let names = [("out_trade_no", &self.number), ("trade_no", &self.trade_no)];
        names.into_iter().filter_map(|(name, number)| Some((name, json!(number.as_ref()?)))).collect()
    }
}

/// A checked request for a refund.
pub(super) struct RefundRequest {
    pub(super) trade: Reference,
    /// Left out: the number of the order.
    number: Option<String>,
    pub(super) minor: i64,
    reason: Option<String>,
}

impl RefundRequest {
    pub(super) fn read(content: &Value) -> Result<Self, Refusal> {
        let fields = Content::of(content)?;
        Ok(Self {
            trade: Reference::read(&fields)?,
            number: fields.optional("out_request_no", 64)?,
            minor: fields.amount("refund_amount")?,
            reason: fields.optional("refund_reason", 256)?,
        })
    }
}

impl Book {
    /// Opens a payment, or finds it again. A QR code that nobody scanned in its time is forgotten.
    pub(super) fn open(&mut self, order: Order, now: DateTime<Utc>) -> Result<&Trade, Refusal> {
        let number = order.number.clone();
        let known = self.trades.get(&number);
        let forgotten = known.is_some_and(|trade| trade.trade_no.is_none() && trade.status(now) == Status::Expired);
        match known {
            Some(trade) if !forgotten => trade.reopen(&order, now)?,
            _ => drop(self.trades.insert(number.clone(), Trade::open(order, now))),
        }
        let trade = self.trades.get(&number).ok_or_else(Refusal::no_such_trade)?;
        if let Some(trade_no) = &trade.trade_no {
            self.numbers.insert(trade_no.clone(), number);
        }
        Ok(trade)
    }

    /// The trade; before its QR code is scanned there is none.
    pub(super) fn trade(&mut self, reference: &Reference) -> Result<&mut Trade, Refusal> {
        let trade = self.order(reference).filter(|trade| trade.trade_no.is_some());
        trade.ok_or_else(Refusal::no_such_trade)
    }

    /// All there are, for a bill.
    pub(super) fn trades(&self) -> impl Iterator<Item = &Trade> {
        self.trades.values()
    }

    fn order(&mut self, reference: &Reference) -> Option<&mut Trade> {
        let number = match &reference.trade_no {
            Some(trade_no) => self.numbers.get(trade_no),
            None => reference.number.as_ref(),
        };
        self.trades.get_mut(number?)
    }

    /// The merchant's number of a trade, for the list of calls.
    pub(super) fn number_of(&self, trade_no: &str) -> Option<&str> {
        self.numbers.get(trade_no).map(String::as_str)
    }

    /// The payer opens the cashier: a QR code becomes a trade.
    pub(crate) fn scan(&mut self, number: &str, now: DateTime<Utc>) {
        let trade_no = self.trades.get_mut(number).and_then(|trade| trade.scan(now).map(str::to_owned));
        if let Some(trade_no) = trade_no {
            self.numbers.insert(trade_no, number.to_owned());
        }
    }

    pub(super) fn seen_by_payer(&self, number: &str) -> Option<&Trade> {
        self.trades.get(number)
    }

    pub(crate) fn knows(&self, number: &str) -> bool {
        self.trades.contains_key(number)
    }

    /// The payer pays, after scanning: money moves, once, and the merchant is told.
    pub(crate) fn pay(
        &mut self,
        number: &str,
        fault: Option<FaultKind>,
        now: DateTime<Utc>,
        journal: &mut Journal,
    ) -> Result<(), PayError> {
        if let Some(trade) = self.trades.get_mut(number) {
            trade.bend(fault, now);
        }
        let trade = self.payable(number, now)?;
        trade.paid(now);
        journal.ledger.charges.push(Charge {
            number: number.to_owned(),
            gateway: "alipay".to_owned(),
            minor: trade.order.total,
            currency: CURRENCY.to_owned(),
            paid_at: now,
        });
        tell(trade, number, Event::paid(trade, now), now, journal);
        Ok(())
    }

    /// The payer declines; the trade stays open for another attempt.
    pub(crate) fn decline(&mut self, number: &str, now: DateTime<Utc>) -> Result<(), PayError> {
        self.payable(number, now)?.declined = true;
        Ok(())
    }

    fn payable(&mut self, number: &str, now: DateTime<Utc>) -> Result<&mut Trade, PayError> {
        self.scan(number, now);
        let trade = self.trades.get_mut(number).ok_or(PayError::Unknown)?;
        match trade.status(now) {
            Status::Waiting => Ok(trade),
            Status::Success { .. } | Status::Refunded { .. } | Status::Finished { .. } => Err(PayError::AlreadyPaid),
            Status::Closed => Err(PayError::Closed),
            Status::Expired => Err(PayError::Expired),
        }
    }

    /// Closes a trade that waits, and only that: not twice, and no QR code before its scan.
    pub(super) fn close(&mut self, reference: &Reference, now: DateTime<Utc>) -> Result<Fields, Refusal> {
        let trade = self.trade(reference)?;
        match trade.status(now) {
            Status::Waiting => trade.closed(),
            _ => return Err(Refusal::wrong_status()),
        }
        Ok(trade.names())
    }

    /// Closes what is not paid and gives back all that is, within a day. A QR code that nobody
    /// scanned stops working; that there was nothing to do is no error.
    pub(super) fn cancel(
        &mut self,
        reference: &Reference,
        now: DateTime<Utc>,
        journal: &mut Journal,
    ) -> Result<Fields, Refusal> {
        let mut fields = reference.names();
        fields.insert("retry_flag", json!("N"));
        let Some(trade) = self.order(reference) else {
            return Ok(fields);
        };
        fields.extend(trade.names());
        let action = match trade.status(now) {
            Status::Waiting => {
                trade.closed();
                trade.trade_no.is_some().then_some("close")
            }
            Status::Closed | Status::Expired | Status::Refunded { .. } => None,
            Status::Finished { .. } => return Err(Refusal::finished()),
            Status::Success { paid_at } if now - paid_at > CANCELLABLE => {
                return Err(Refusal::business("ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围"));
            }
            Status::Success { .. } if !trade.refunds.is_empty() => {
                return Err(Refusal::business("ACQ.REASON_TRADE_REFUND_FEE_ERR", "交易已发生退款，不能撤销"));
            }
            Status::Success { .. } => {
                let number = trade.order.number.clone();
                give_back(trade, Refund { number, minor: trade.order.total, reason: None, at: now }, journal);
                fields.insert("gmt_refund_pay", json!(beijing(now, TIME)));
                Some("refund")
            }
        };
        fields.extend(action.map(|action| ("action", json!(action))));
        Ok(fields)
    }

    /// Gives money back within the call, or finds that this was done. `moves` is false where a
    /// refund is to be accepted without any money moving.
    pub(super) fn refund(
        &mut self,
        request: RefundRequest,
        moves: bool,
        now: DateTime<Utc>,
        journal: &mut Journal,
    ) -> Result<Fields, Refusal> {
        let trade = self.trade(&request.trade)?;
        let number = request.number.as_ref().unwrap_or(&trade.order.number).clone();
        if let Some(known) = trade.refunds.iter().find(|refund| refund.number == number) {
            if known.minor != request.minor {
                return Err(Refusal::business("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致"));
            }
            return Ok(trade.refund_answer(false, Some(known.at)));
        }
        match trade.status(now) {
            Status::Success { .. } => {}
            Status::Waiting => return Err(Refusal::wrong_status()),
            Status::Finished { .. } => return Err(Refusal::finished()),
            Status::Refunded { .. } | Status::Closed | Status::Expired => return Err(Refusal::closed()),
        }
        if request.minor > trade.order.total - trade.refunded() {
            return Err(Refusal::business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限"));
        }
        if request.number.is_none() && request.minor != trade.order.total {
            return Err(Refusal::parameter("out_request_no", "部分退款时不能为空"));
        }
        if !moves {
            return Ok(trade.refund_answer(false, None));
        }
        give_back(
            trade,
            Refund { number: number.clone(), minor: request.minor, reason: request.reason, at: now },
            journal,
        );
        // By default nobody is told of the last refund of a trade.
        if let Status::Success { .. } = trade.status(now) {
            tell(trade, &number, Event::refunded(trade, &number, now), now, journal);
        }
        Ok(trade.refund_answer(true, Some(now)))
    }

    /// What became of a refund. One that is not known is answered without saying so.
    pub(super) fn find_refund(&mut self, content: &Value) -> Result<Fields, Refusal> {
        let fields = Content::of(content)?;
        let number = fields.text("out_request_no", 64)?;
        let trade = self.trade(&Reference::read(&fields)?)?;
        let Some(refund) = trade.refunds.iter().find(|refund| refund.number == number) else {
            return Ok(Fields::new());
        };
        let mut answer = trade.names();
        answer.extend([
            ("out_request_no", json!(refund.number)),
            ("refund_amount", json!(yuan(refund.minor))),
            ("refund_status", json!("REFUND_SUCCESS")),
            ("total_amount", json!(yuan(trade.order.total))),
        ]);
        answer.extend(refund.reason.as_ref().map(|reason| ("refund_reason", json!(reason))));
        if fields.wants("gmt_refund_pay") {
            answer.insert("gmt_refund_pay", json!(beijing(refund.at, TIME)));
        }
        Ok(answer)
    }
}

fn give_back(trade: &mut Trade, refund: Refund, journal: &mut Journal) {
    journal.ledger.refunds.push(RefundedMoney {
        number: refund.number.clone(),
        payment_number: trade.order.number.clone(),
        minor: refund.minor,
        currency: CURRENCY.to_owned(),
    });
    trade.refunds.push(refund);
}

/// Everything goes to the address that the order named; without one nobody is told.
fn tell(trade: &Trade, number: &str, event: Event, now: DateTime<Utc>, journal: &mut Journal) {
    if let Some(url) = trade.order.notify_url.clone() {
        journal.outbox.put(Letter {
            id: numbers::notify_id(now),
            number: number.to_owned(),
            url,
            created_at: now,
            due_at: now,
            failures: 0,
            content: Message::Alipay(event),
        });
    }
}
