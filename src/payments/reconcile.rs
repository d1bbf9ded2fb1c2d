//! Reconciling: the gateway's bill of a day against what we have recorded. What the gateway did and we do not
//! know is asked for and recorded; what then still differs is for people.

use std::collections::HashSet;
use std::fmt;

use domain::{Date, Duration, Gateway, Money, PaymentId, PaymentState, RefundId, Timestamp};
use futures_util::StreamExt;

use super::ports::{BillEntry, BillLine, GatewayError, GatewayPayment, GatewayRefundState};
use super::{PaymentError, Payments};

/// How many lines are compared at a time.
const AT_ONCE: usize = 200;
/// Bills are cut at midnight in Shanghai, which knows no summer time.
const AHEAD_OF_UTC: Duration = Duration::hours(8);

/// What came of comparing one bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// Whose bill.
    pub gateway: Gateway,
    /// Of which day.
    pub day: Date,
    /// Payments and refunds on the bill.
    pub lines: (u64, u64),
    /// What differed, in the order in which it was found; some of it does no longer.
    pub differences: Vec<Difference>,
    /// Why the bill could not be compared to its end; `None`: it was.
    pub broken_off: Option<String>,
}

/// One thing that the bill and we did not agree about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the payment or refund.
    pub number: String,
    /// What it is.
    pub kind: DifferenceKind,
    /// The gateway was asked, and what it did is recorded now.
    pub settled: bool,
}

/// How the bill and we differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Paid there, not here.
    NotPaidHere,
    /// Paid there, and no payment of ours has the number.
    UnknownPayment,
    /// Another amount there than here.
    OtherAmount {
        /// There.
        theirs: Money,
        /// Here.
        ours: Money,
    },
    /// Twice on the bill.
    Twice,
    /// Refunded there, not here.
    NotRefundedHere,
    /// Refunded there, and no refund of ours has the number.
    UnknownRefund {
        /// The payment that it takes money from.
        payment: String,
    },
    /// Paid here on that day, and not on the bill.
    NotOnBill,
}

impl Reconciliation {
    /// Nothing is left for people.
    pub fn is_clean(&self) -> bool {
        self.broken_off.is_none() && self.differences.iter().all(|difference| difference.settled)
    }
}

/// One line a difference, and a summary.
impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        if let Some(why) = &self.broken_off {
            writeln!(f, "broken off: {why}")?;
        }
        let (payments, refunds) = self.lines;
        let settled = self.differences.iter().filter(|difference| difference.settled).count();
        let left = self.differences.len() - settled;
        let (gateway, day) = (self.gateway.name(), self.day);
        write!(f, "{gateway} {day}: {payments} payments, {refunds} refunds; {settled} differences settled, {left} left")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, settled) = (&self.number, if self.settled { "; asked, and recorded now" } else { "" });
        match &self.kind {
            DifferenceKind::NotPaidHere => write!(f, "{number}: paid there, not here{settled}"),
            DifferenceKind::UnknownPayment => write!(f, "{number}: paid there, and no payment here has the number"),
            DifferenceKind::OtherAmount { theirs, ours } => write!(f, "{number}: {theirs} there, {ours} here"),
            DifferenceKind::Twice => write!(f, "{number}: twice on the bill"),
            DifferenceKind::NotRefundedHere => write!(f, "{number}: refunded there, not here{settled}"),
            DifferenceKind::UnknownRefund { payment } => {
                write!(f, "{number}: refunded there of {payment}, and no refund here has the number")
            }
            DifferenceKind::NotOnBill => write!(f, "{number}: paid here, and not on the bill"),
        }
    }
}

/// The bill as far as it was read.
#[derive(Default)]
struct Seen {
    payments: HashSet<String>,
    refunds: u64,
    differences: Vec<Difference>,
}

impl Seen {
    fn differs(&mut self, number: &str, kind: DifferenceKind, settled: bool) {
        self.differences.push(Difference { number: number.to_owned(), kind, settled });
    }
}

impl Payments {
    /// Compares the gateway's bill of a day with what is recorded, asks about what differs, and records what the
    /// gateway did. Doing it again is harmless. An error: there was no bill to compare.
    pub async fn reconcile(&self, gateway: Gateway, day: Date) -> Result<Reconciliation, PaymentError> {
        let bill = self.gateway(gateway)?.bill(day).await.map_err(|e| no_bill(gateway, day, &e))?;
        let mut parts = bill.chunks(AT_ONCE);
        let (mut seen, mut broken_off) = (Seen::default(), None);
        while let Some(part) = parts.next().await {
            // An error is the last of it: what came before is compared all the same.
            let mut lines = Vec::new();
            for line in part {
                match line {
                    Ok(line) => lines.push(line),
                    Err(e) => broken_off = Some(e.to_string()),
                }
            }
            self.compare(gateway, &lines, &mut seen).await?;
        }
        if broken_off.is_none() {
            self.look_for_what_the_bill_lacks(gateway, day, &mut seen).await?;
        }
        let lines = (seen.payments.len() as u64, seen.refunds);
        Ok(Reconciliation { gateway, day, lines, differences: seen.differences, broken_off })
    }

    async fn compare(&self, gateway: Gateway, lines: &[BillLine], seen: &mut Seen) -> Result<(), PaymentError> {
        let ids: Vec<&str> = lines.iter().map(|line| line.payment.as_str()).collect();
        let mut ours = self.0.store.recorded_payments(&ids).await?;
        ours.retain(|_, payment| payment.gateway == gateway);
        let number_of = |line: &BillLine| match &line.entry {
            BillEntry::Refund { number, .. } => Some(number.clone()),
            BillEntry::Payment => None,
        };
        let numbers: Vec<String> = lines.iter().filter_map(number_of).collect();
        let refunds = self.0.store.recorded_refunds(&numbers.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        for line in lines {
            match &line.entry {
                BillEntry::Payment => {
                    let ours = ours.get(&line.payment).map(|payment| (&payment.id, payment.paid));
                    self.compare_payment(gateway, line, ours, seen).await?;
                }
                BillEntry::Refund { number, done } => {
                    seen.refunds += 1;
                    let Some(refund) = refunds.get(number).filter(|refund| refund.payment.as_str() == line.payment)
                    else {
                        seen.differs(number, DifferenceKind::UnknownRefund { payment: line.payment.clone() }, false);
                        continue;
                    };
                    if refund.amount != line.amount {
                        let kind = DifferenceKind::OtherAmount { theirs: line.amount, ours: refund.amount };
                        seen.differs(number, kind, false);
                    } else if *done && !refund.done {
                        let settled = self.settle_refund(gateway, &refund.id, &refund.payment).await?;
                        seen.differs(number, DifferenceKind::NotRefundedHere, settled);
                    }
                }
            }
        }
        Ok(())
    }

    async fn compare_payment(
        &self,
        gateway: Gateway,
        line: &BillLine,
        ours: Option<(&PaymentId, Option<Money>)>,
        seen: &mut Seen,
    ) -> Result<(), PaymentError> {
        let number = &line.payment;
        if !seen.payments.insert(number.clone()) {
            seen.differs(number, DifferenceKind::Twice, false);
            return Ok(());
        }
        match ours {
            None => seen.differs(number, DifferenceKind::UnknownPayment, false),
            Some((_, Some(paid))) if paid == line.amount => {}
            Some((_, Some(ours))) => {
                seen.differs(number, DifferenceKind::OtherAmount { theirs: line.amount, ours }, false);
            }
            Some((id, None)) => {
                let settled = self.settle_payment(gateway, id, line.amount).await?;
                seen.differs(number, DifferenceKind::NotPaidHere, settled);
            }
        }
        Ok(())
    }

    /// Asks what became of a payment, and records it if it is paid; true: as the bill says, and nobody has to decide.
    async fn settle_payment(&self, gateway: Gateway, payment: &PaymentId, billed: Money) -> Result<bool, PaymentError> {
        let Some(order) = self.0.store.order_of_payment(payment.as_str()).await? else { return Ok(false) };
        match self.gateway(gateway)?.find(payment).await {
            Ok(Some(found @ (GatewayPayment::Paid(_) | GatewayPayment::Returned(_)))) => {
                self.learn(None, &order, payment, found).await?;
                let order = self.must_find(&order).await?;
                let state = order.payment(payment).map(|p| &p.state);
                Ok(
                    matches!(state, Some(PaymentState::Succeeded { evidence, mismatch: false, .. }) if evidence.amount == billed),
                )
            }
            outcome => {
                tracing::warn!(%payment, ?outcome, "on the bill, and not paid when asked");
                Ok(false)
            }
        }
    }

    /// Asks what became of a refund, and records it if it is done.
    async fn settle_refund(
        &self,
        gateway: Gateway,
        refund: &RefundId,
        payment: &PaymentId,
    ) -> Result<bool, PaymentError> {
        let Some(order) = self.0.store.order_of_refund(refund.as_str()).await? else { return Ok(false) };
        match self.gateway(gateway)?.find_refund(refund, payment).await {
            Ok(Some(found)) if matches!(found.state, GatewayRefundState::Succeeded { .. }) => {
                self.learn_refund(None, &order, refund, &found).await?;
                let recorded = self.0.store.recorded_refunds(&[refund.as_str()]).await?;
                // What does not fit beside other refunds was logged as an error, and is for people.
                Ok(recorded.values().all(|refund| refund.done))
            }
            outcome => {
                tracing::warn!(%refund, ?outcome, "done on the bill, and not when asked");
                Ok(false)
            }
        }
    }

    async fn look_for_what_the_bill_lacks(
        &self,
        gateway: Gateway,
        day: Date,
        seen: &mut Seen,
    ) -> Result<(), PaymentError> {
        let from: Timestamp = day.and_time(chrono::NaiveTime::MIN).and_utc() - AHEAD_OF_UTC;
        let span = (from, from + Duration::days(1));
        let mut after = 0;
        loop {
            let (payments, last) = self.0.store.paid_between(gateway, span, after, AT_ONCE as u64).await?;
            if payments.is_empty() {
                return Ok(());
            }
            for payment in &payments {
                if !seen.payments.contains(payment.id.as_str()) {
                    seen.differs(payment.id.as_str(), DifferenceKind::NotOnBill, false);
                }
            }
            after = last;
        }
    }
}

fn no_bill(gateway: Gateway, day: Date, e: &GatewayError) -> PaymentError {
    PaymentError::BadInput(format!("there is no bill of {} for {day} now: {e}", gateway.name()))
}
