//! What is compared with a bill: our payments and refunds by number, and what was paid in a span of time.

use std::collections::HashMap;

use domain::{Currency, Gateway, Money, PaymentId, PaymentStatus, RefundId, RefundStatus, Timestamp};
use entity::{payment, refund};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, rows};

/// A payment as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPayment {
    /// Its number.
    pub id: PaymentId,
    /// Where it was made.
    pub gateway: Gateway,
    /// What arrived, if anything did.
    pub paid: Option<Money>,
}

/// A refund as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRefund {
    /// Its number.
    pub id: RefundId,
    /// Of which payment.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// The money is back.
    pub done: bool,
}

impl Store {
    /// The payments of these numbers, by number. Numbers that nothing has are left out.
    pub async fn recorded_payments(&self, ids: &[&str]) -> Result<HashMap<String, RecordedPayment>, StoreError> {
        let rows =
            payment::Entity::find().filter(payment::Column::Id.is_in(ids.iter().copied())).all(&self.read).await?;
        rows.into_iter().map(|row| recorded_payment(row).map(|p| (p.id.as_str().to_owned(), p))).collect()
    }

    /// The refunds of these numbers, by number. Numbers that nothing has are left out.
    pub async fn recorded_refunds(&self, ids: &[&str]) -> Result<HashMap<String, RecordedRefund>, StoreError> {
        let rows = refund::Entity::find().filter(refund::Column::Id.is_in(ids.iter().copied())).all(&self.read).await?;
        rows.into_iter().map(|row| recorded_refund(row).map(|r| (r.id.as_str().to_owned(), r))).collect()
    }

    /// What was paid at a gateway from `from` to before `to`, by the gateway's word: at most `limit` payments whose
    /// row comes after `after`, and the row of the last one, to go on from.
    pub async fn paid_between(
        &self,
        gateway: Gateway,
        (from, to): (Timestamp, Timestamp),
        after: i64,
        limit: u64,
    ) -> Result<(Vec<RecordedPayment>, i64), StoreError> {
        let rows = payment::Entity::find()
            .filter(payment::Column::Seq.gt(after))
            .filter(payment::Column::Gateway.eq(gateway.name()))
            .filter(payment::Column::Status.eq(PaymentStatus::Succeeded.name()))
            .filter(payment::Column::StateAt.gte(from))
            .filter(payment::Column::StateAt.lt(to))
            .order_by_asc(payment::Column::Seq)
            .limit(limit)
            .all(&self.read)
            .await?;
        let last = rows.last().map_or(after, |row| row.seq);
        let payments = rows.into_iter().map(recorded_payment).collect::<Result<_, _>>()?;
        Ok((payments, last))
    }
}

fn recorded_payment(row: payment::Model) -> Result<RecordedPayment, StoreError> {
    let wrong = |column| rows::corrupt("payments", column, &row.id);
    let paid = match PaymentStatus::from_name(&row.status).ok_or_else(|| wrong("status"))? {
        PaymentStatus::Succeeded => {
            let code = row.paid_currency.as_deref().unwrap_or_default();
            Some(Money::new(row.paid, Currency::parse(code).map_err(|_| wrong("paid_currency"))?))
        }
        _ => None,
    };
    Ok(RecordedPayment {
        id: PaymentId::parse(&row.id).map_err(|_| wrong("id"))?,
        gateway: Gateway::from_name(&row.gateway).ok_or_else(|| wrong("gateway"))?,
        paid,
    })
}

fn recorded_refund(row: refund::Model) -> Result<RecordedRefund, StoreError> {
    let wrong = |column| rows::corrupt("refunds", column, &row.id);
    let currency = Currency::parse(&row.currency).map_err(|_| wrong("currency"))?;
    Ok(RecordedRefund {
        id: RefundId::parse(&row.id).map_err(|_| wrong("id"))?,
        payment: PaymentId::parse(&row.payment_id).map_err(|_| wrong("payment_id"))?,
        amount: Money::new(row.amount_minor, currency),
        done: RefundStatus::from_name(&row.status).ok_or_else(|| wrong("status"))? == RefundStatus::Succeeded,
    })
}
