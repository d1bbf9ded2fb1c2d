//! Orders: read whole, changed under their fence.

use std::collections::HashMap;

use domain::{Order, OrderId, OrderStatus, Timestamp};
use entity::{event, order, order_line, payment, refund};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, Iterable, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::{Store, StoreError, Tx, rows};

/// An order that this transaction holds: nobody else changes it before the transaction ends.
pub struct Held {
    pub(super) seq: i64,
    pub(super) loaded: Order,
    /// What it is to become.
    pub order: Order,
}

impl Tx {
    /// Writes a new order with everything in it. `IdTaken`: its id was given before.
    pub async fn insert_order(&self, order: &Order, now: Timestamp) -> Result<(), StoreError> {
        let mut row = rows::order_row(order, None);
        self.to_tell_of_new(&mut row, now);
        let placed = order::Entity::insert(row).exec(&self.inner).await?;
        let seq = placed.last_insert_id;
        let lines = order.lines.iter().enumerate().map(|(n, line)| rows::line_row(line, seq, n));
        order_line::Entity::insert_many(lines).exec_without_returning(&self.inner).await?;
        for payment in &order.payments {
            payment::Entity::insert(rows::payment_row(payment, order, seq)).exec_without_returning(&self.inner).await?;
        }
        event::Entity::insert_many(rows::event_rows(order, seq, now)).exec_without_returning(&self.inner).await?;
        Ok(())
    }

    /// Takes hold of an order: waits while another transaction has it, then reads it as it is.
    pub async fn hold_order(&self, id: &OrderId) -> Result<Option<Held>, StoreError> {
        let row =
            order::Entity::find().filter(order::Column::Id.eq(id.as_str())).lock_exclusive().one(&self.inner).await?;
        let Some(row) = row else { return Ok(None) };
        let seq = row.seq;
        let order = assemble(&self.inner, vec![row]).await?.pop().ok_or(StoreError::Conflict)?;
        Ok(Some(Held { seq, loaded: order.clone(), order }))
    }

    /// Writes what has changed, fenced by the version it was read with, and numbers its events.
    /// `Conflict`: somebody else changed it all the same.
    pub async fn save(&self, held: &mut Held, now: Timestamp) -> Result<(), StoreError> {
        let Held { seq, loaded, order } = held;
        if order == loaded {
            return Ok(());
        }
        let row = rows::order_row(order, Some(*seq));
        let mut update = order::Entity::update_many().filter(order::Column::Seq.eq(*seq));
        for column in [
            order::Column::Version,
            order::Column::Status,
            order::Column::CloseReason,
            order::Column::Closing,
            order::Column::OpenPayment,
            order::Column::Winner,
            order::Column::PaidAt,
            order::Column::ClosedAt,
            order::Column::NextAt,
        ] {
            if let ActiveValue::Set(value) = row.get(column) {
                update = update.col_expr(column, Expr::val(value));
            }
        }
        if !order.happened.is_empty() {
            update = self.to_tell(update, loaded.version, now);
        }
        one_row(update.filter(order::Column::Version.eq(loaded.version)).exec(&self.inner).await?.rows_affected)?;
        for payment in &order.payments {
            match loaded.payments.iter().find(|p| p.id == payment.id) {
                Some(same) if same == payment && order.winner() == loaded.winner() => {}
                Some(before) => self.update_payment(payment, before, order, *seq).await?,
                None => {
                    let row = rows::payment_row(payment, order, *seq);
                    payment::Entity::insert(row).exec_without_returning(&self.inner).await?;
                }
            }
        }
        for refund in &order.refunds {
            match loaded.refund(&refund.id) {
                Some(same) if same == refund => {}
                Some(_) => self.update_refund(refund, *seq).await?,
                None => {
                    refund::Entity::insert(rows::refund_row(refund, *seq)).exec_without_returning(&self.inner).await?;
                }
            }
        }
        if !order.happened.is_empty() {
            event::Entity::insert_many(rows::event_rows(order, *seq, now)).exec_without_returning(&self.inner).await?;
        }
        if order.status() == OrderStatus::Closed && loaded.status() != OrderStatus::Closed {
            self.uncount_in_day(order).await?;
        }
        order.happened.clear();
        *loaded = order.clone();
        Ok(())
    }

    /// The counters are compared and set, and the table's CHECK stands behind: of two refunds that
    /// together exceed what was paid, one fails here whatever the code believed.
    async fn update_payment(
        &self,
        payment: &domain::Payment,
        before: &domain::Payment,
        order: &Order,
        seq: i64,
    ) -> Result<(), StoreError> {
        let row = rows::payment_row(payment, order, seq);
        let mut update = payment::Entity::update_many()
            .filter(payment::Column::Id.eq(payment.id.as_str()))
            .filter(payment::Column::RefundReserved.eq(before.refund_reserved))
            .filter(payment::Column::Refunded.eq(before.refunded))
            .filter(payment::Column::Status.eq(before.status().name()));
        for column in payment::Column::iter() {
            if let ActiveValue::Set(value) = row.get(column) {
                update = update.col_expr(column, Expr::val(value));
            }
        }
        one_row(update.exec(&self.inner).await?.rows_affected)
    }

    async fn update_refund(&self, refund: &domain::Refund, seq: i64) -> Result<(), StoreError> {
        let row = rows::refund_row(refund, seq);
        let mut update = refund::Entity::update_many().filter(refund::Column::Id.eq(refund.id.as_str()));
        for column in refund::Column::iter() {
            if let ActiveValue::Set(value) = row.get(column) {
                update = update.col_expr(column, Expr::val(value));
            }
        }
        one_row(update.exec(&self.inner).await?.rows_affected)
    }
}

impl Store {
    /// The order as it is now.
    pub async fn order(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        let row = order::Entity::find().filter(order::Column::Id.eq(id.as_str())).one(&self.read).await?;
        Ok(self.whole(row.into_iter().collect()).await?.pop())
    }

    /// Orders of these rows, each as it was at one moment. They are read in several statements: one that
    /// changed in between is read again, or its parts would not fit each other.
    pub(super) async fn whole(&self, mut rows: Vec<order::Model>) -> Result<Vec<Order>, StoreError> {
        let seqs: Vec<i64> = rows.iter().map(|o| o.seq).collect();
        let mut tries = 0;
        loop {
            let read = assemble(&self.read, rows.clone()).await;
            let again = order::Entity::find().filter(order::Column::Seq.is_in(seqs.clone())).all(&self.read).await?;
            let mut newer: HashMap<i64, order::Model> = again.into_iter().map(|o| (o.seq, o)).collect();
            let same = rows.iter().all(|o| newer.get(&o.seq).is_some_and(|n| n.version == o.version));
            if same || tries == 5 {
                return read;
            }
            tries += 1;
            rows = seqs.iter().filter_map(|seq| newer.remove(seq)).collect();
        }
    }

    /// The order that a payment belongs to.
    pub async fn order_of_payment(&self, payment: &str) -> Result<Option<OrderId>, StoreError> {
        let row = payment::Entity::find().filter(payment::Column::Id.eq(payment)).one(&self.read).await?;
        self.id_of(row.map(|r| r.order_seq)).await
    }

    /// The order that a refund belongs to.
    pub async fn order_of_refund(&self, refund: &str) -> Result<Option<OrderId>, StoreError> {
        let row = refund::Entity::find().filter(refund::Column::Id.eq(refund)).one(&self.read).await?;
        self.id_of(row.map(|r| r.order_seq)).await
    }

    /// Takes the right to ask a gateway about a payment: at most one question in `pause`, whoever asks.
    pub async fn may_ask(&self, payment: &str, now: Timestamp, pause: domain::Duration) -> Result<bool, StoreError> {
        let free = payment::Column::AskedAt.is_null().or(payment::Column::AskedAt.lte(now - pause));
        let taken = payment::Entity::update_many()
            .col_expr(payment::Column::AskedAt, Expr::val(now))
            .filter(payment::Column::Id.eq(payment))
            .filter(free)
            .exec(&self.write)
            .await?;
        Ok(taken.rows_affected == 1)
    }

    async fn id_of(&self, seq: Option<i64>) -> Result<Option<OrderId>, StoreError> {
        let Some(seq) = seq else { return Ok(None) };
        let row = order::Entity::find_by_id(seq).one(&self.read).await?;
        row.map(|r| OrderId::parse(&r.id).map_err(|_| rows::corrupt("orders", "id", r.id))).transpose()
    }
}

/// Orders from their rows, in the same order; three more queries however many there are.
pub(super) async fn assemble(db: &impl ConnectionTrait, orders: Vec<order::Model>) -> Result<Vec<Order>, StoreError> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let seqs: Vec<i64> = orders.iter().map(|o| o.seq).collect();
    let lines = order_line::Entity::find()
        .filter(order_line::Column::OrderSeq.is_in(seqs.clone()))
        .order_by_asc(order_line::Column::LineNo)
        .all(db)
        .await?;
    let payments = payment::Entity::find()
        .filter(payment::Column::OrderSeq.is_in(seqs.clone()))
        .order_by_asc(payment::Column::Seq)
        .all(db)
        .await?;
    let refunds = refund::Entity::find()
        .filter(refund::Column::OrderSeq.is_in(seqs))
        .order_by_asc(refund::Column::Seq)
        .all(db)
        .await?;
    let mut lines = by_order(lines, |l| l.order_seq);
    let mut payments = by_order(payments, |p| p.order_seq);
    let mut refunds = by_order(refunds, |r| r.order_seq);
    orders
        .into_iter()
        .map(|o| {
            let seq = o.seq;
            let mut take = (lines.remove(&seq), payments.remove(&seq), refunds.remove(&seq));
            rows::order_from(
                o,
                take.0.take().unwrap_or_default(),
                take.1.take().unwrap_or_default(),
                take.2.take().unwrap_or_default(),
            )
        })
        .collect()
}

fn by_order<R>(rows: Vec<R>, seq: impl Fn(&R) -> i64) -> HashMap<i64, Vec<R>> {
    let mut map: HashMap<i64, Vec<R>> = HashMap::new();
    for row in rows {
        map.entry(seq(&row)).or_default().push(row);
    }
    map
}

fn one_row(rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}
