//! Claims: the row that grants the right to act, its lease and its fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{
    FINGERPRINT_VERSION, Fingerprint, IdempotencyKey, Operation, OperationName, OrderId, PaymentId, RefundId, Timestamp,
};
use entity::operation::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, SqlErr};

use super::rows::corrupt;
use super::{Store, StoreError, Tx, database_clock};

/// A claim to be made.
pub struct NewClaim<'a> {
    /// What is claimed.
    pub operation: &'a Operation,
    /// The order it makes or changes.
    pub order: &'a OrderId,
    /// The payment it opens.
    pub payment: Option<&'a PaymentId>,
    /// The refund it asks for.
    pub refund: Option<&'a RefundId>,
    /// `None`: the whole effect is in this transaction, the claim is made in its final form. Else the
    /// holder and how long it may work without renewing.
    pub lease: Option<(&'a str, Duration)>,
    /// Now.
    pub now: Timestamp,
}

/// A claim as it stands in the store.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The row.
    pub seq: i64,
    /// Who made it, with which mutation, under which key, with which content.
    pub operation: Operation,
    /// Where the operation stands.
    pub state: ClaimState,
    /// The order it made or changed.
    pub order: OrderId,
    /// The payment it opened.
    pub payment: Option<PaymentId>,
    /// The refund it asked for.
    pub refund: Option<RefundId>,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Intent is committed; the gateway's answer is not.
    Running,
    /// Everything is committed.
    Done,
}

/// The right to work on a running operation, until the lease ends by the database's clock.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The claim.
    pub seq: i64,
    /// Grows by one with every takeover; a write with an older one has no effect.
    pub fence: i64,
    /// The holder's random token.
    pub holder: String,
    /// See [`Lease::is_lost`].
    lost: Arc<AtomicBool>,
}

impl Lease {
    fn new(seq: i64, fence: i64, holder: String) -> Self {
        Self { seq, fence, holder, lost: Arc::default() }
    }

    /// The operation was to be finished and somebody else had taken it over: what it comes to is theirs to say.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Tx {
    /// Makes the claim, or says `None`: the key is taken. Must be the transaction's first write.
    pub async fn claim(&self, new: NewClaim<'_>) -> Result<Option<Lease>, StoreError> {
        crash_point!("before_claim");
        let backend = self.backend();
        let holder = new.lease.map(|(holder, _)| holder.to_owned());
        let until = match new.lease {
            Some((_, lease)) => database_clock(backend, lease),
            None => Expr::val(Option::<Timestamp>::None),
        };
        let mut insert = Query::insert();
        insert
            .into_table(Entity)
            .columns([
                Column::Subject,
                Column::IdempotencyKey,
                Column::Name,
                Column::Fingerprint,
                Column::FingerprintVersion,
                Column::State,
                Column::OrderId,
                Column::PaymentId,
                Column::RefundId,
                Column::Fence,
                Column::LeaseHolder,
                Column::LeaseUntil,
                Column::CreatedAt,
            ])
            .values_panic([
                new.operation.subject.as_str().into(),
                new.operation.key.as_str().into(),
                new.operation.name.as_str().into(),
                new.operation.fingerprint.to_hex().into(),
                FINGERPRINT_VERSION.into(),
                if holder.is_some() { "RUNNING" } else { "DONE" }.into(),
                new.order.as_str().into(),
                new.payment.map(|p| p.as_str().to_owned()).into(),
                new.refund.map(|r| r.as_str().to_owned()).into(),
                0_i64.into(),
                holder.clone().into(),
                until,
                new.now.into(),
            ]);
        // A conflict is reported differently by each database: PostgreSQL and SQLite return no row, MariaDB
        // and MySQL an error that leaves the transaction usable.
        let seq = if backend == DbBackend::MySql {
            match self.inner.execute(&insert).await {
                Ok(done) => Some(i64::try_from(done.last_insert_id()).unwrap_or_default()),
                Err(e) if matches!(e.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => None,
                Err(e) => return Err(e.into()),
            }
        } else {
            insert.on_conflict(OnConflict::new().do_nothing().to_owned()).returning_col(Column::Seq);
            let row = self.inner.query_one(&insert).await?;
            row.map(|r| r.try_get("", "seq")).transpose()?
        };
        crash_point!("after_claim");
        Ok(seq.map(|seq| Lease::new(seq, 0, holder.unwrap_or_default())))
    }

    /// Marks the operation as done. False: somebody took it over; what this transaction learned is still
    /// to be committed.
    pub async fn finish(&self, lease: &Lease) -> Result<bool, StoreError> {
        let done = Entity::update_many()
            .col_expr(Column::State, Expr::val("DONE"))
            .col_expr(Column::LeaseHolder, Expr::val(Option::<String>::None))
            .col_expr(Column::LeaseUntil, Expr::val(Option::<Timestamp>::None))
            .filter(Column::Seq.eq(lease.seq))
            .filter(Column::Fence.eq(lease.fence))
            .filter(Column::LeaseHolder.eq(lease.holder.as_str()))
            .exec(&self.inner)
            .await?;
        let ours = done.rows_affected == 1;
        lease.lost.fetch_or(!ours, Ordering::Relaxed);
        Ok(ours)
    }

    /// Points the claim at the payment that its operation goes on with. False: somebody took it over.
    pub async fn aim(&self, lease: &Lease, payment: &PaymentId) -> Result<bool, StoreError> {
        let aimed = Entity::update_many()
            .col_expr(Column::PaymentId, Expr::val(payment.as_str()))
            .filter(Column::Seq.eq(lease.seq))
            .filter(Column::State.eq("RUNNING"))
            .filter(Column::Fence.eq(lease.fence))
            .filter(Column::LeaseHolder.eq(lease.holder.as_str()))
            .exec(&self.inner)
            .await?;
        Ok(aimed.rows_affected == 1)
    }

    /// Takes the claim back: a rule said no after all, nothing began.
    pub async fn unclaim(&self, lease: &Lease) -> Result<(), StoreError> {
        Entity::delete_many()
            .filter(Column::Seq.eq(lease.seq))
            .filter(Column::Fence.eq(lease.fence))
            .filter(Column::State.eq("RUNNING"))
            .exec(&self.inner)
            .await?;
        Ok(())
    }
}

impl Store {
    /// The claim on this key of this subject.
    pub async fn claim_of(&self, subject: &str, key: &str) -> Result<Option<Claim>, StoreError> {
        // Asked of the writer: what was committed a moment ago must be seen, replica or not.
        let row = Entity::find()
            .filter(Column::Subject.eq(subject))
            .filter(Column::IdempotencyKey.eq(key))
            .one(&self.write)
            .await?;
        row.map(read).transpose()
    }

    /// Takes over an operation whose lease has ended by the database's clock; `None`: it has not, or it
    /// is done, or another was faster.
    pub async fn take_over(&self, seq: i64, holder: &str, lease: Duration) -> Result<Option<Lease>, StoreError> {
        let backend = self.write.get_database_backend();
        let taken = Entity::update_many()
            .col_expr(Column::Fence, Expr::col(Column::Fence).add(1))
            .col_expr(Column::LeaseHolder, Expr::val(holder))
            .col_expr(Column::LeaseUntil, database_clock(backend, lease))
            .filter(Column::Seq.eq(seq))
            .filter(Column::State.eq("RUNNING"))
            .filter(Expr::col(Column::LeaseUntil).lte(database_clock(backend, Duration::ZERO)))
            .exec(&self.write)
            .await?;
        if taken.rows_affected == 0 {
            return Ok(None);
        }
        let row = Entity::find_by_id(seq).one(&self.write).await?;
        Ok(row
            .filter(|r| r.lease_holder.as_deref() == Some(holder))
            .map(|r| Lease::new(seq, r.fence, holder.to_owned())))
    }

    /// Prolongs a lease that is still ours. False: it is not.
    pub async fn renew(&self, lease: &Lease, by: Duration) -> Result<bool, StoreError> {
        let renewed = Entity::update_many()
            .col_expr(Column::LeaseUntil, database_clock(self.write.get_database_backend(), by))
            .filter(Column::Seq.eq(lease.seq))
            .filter(Column::State.eq("RUNNING"))
            .filter(Column::Fence.eq(lease.fence))
            .filter(Column::LeaseHolder.eq(lease.holder.as_str()))
            .exec(&self.write)
            .await?;
        Ok(renewed.rows_affected == 1)
    }

    /// Forgets claims made before `before`, the oldest first and at most `limit`; how many. What they made stays,
    /// and with it the ids that their keys derive: no key executes again. One that still runs is never
    /// forgotten.
    pub async fn purge_claims(&self, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let old: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::Seq)
            .filter(Column::CreatedAt.lt(before))
            .filter(Column::State.eq("DONE"))
            .order_by_asc(Column::CreatedAt)
            .limit(limit)
            .into_tuple()
            .all(&self.write)
            .await?;
        if old.is_empty() {
            return Ok(0);
        }
        let purged = Entity::delete_many()
            .filter(Column::Seq.is_in(old))
            .filter(Column::State.eq("DONE"))
            .exec(&self.write)
            .await?;
        Ok(purged.rows_affected)
    }

    /// Running operations whose lease has ended by the database's clock, oldest first.
    pub async fn orphans(&self, limit: u64) -> Result<Vec<Claim>, StoreError> {
        let now = database_clock(self.write.get_database_backend(), Duration::ZERO);
        let rows = Entity::find()
            .filter(Column::State.eq("RUNNING"))
            .filter(Expr::col(Column::LeaseUntil).lte(now))
            .order_by_asc(Column::LeaseUntil)
            .limit(limit)
            .all(&self.write)
            .await?;
        rows.into_iter().map(read).collect()
    }
}

fn read(row: Model) -> Result<Claim, StoreError> {
    let wrong = |column| corrupt("operations", column, row.seq);
    Ok(Claim {
        seq: row.seq,
        operation: Operation {
            name: OperationName::from_name(&row.name).ok_or_else(|| wrong("name"))?,
            key: IdempotencyKey::parse(&row.idempotency_key).map_err(|_| wrong("idempotency_key"))?,
            fingerprint: Fingerprint::from_hex(&row.fingerprint).ok_or_else(|| wrong("fingerprint"))?,
            subject: row.subject,
        },
        state: match row.state.as_str() {
            "RUNNING" => ClaimState::Running,
            "DONE" => ClaimState::Done,
            _ => return Err(wrong("state")),
        },
        order: OrderId::parse(&row.order_id).map_err(|_| wrong("order_id"))?,
        payment: row.payment_id.as_deref().map(PaymentId::parse).transpose().map_err(|_| wrong("payment_id"))?,
        refund: row.refund_id.as_deref().map(RefundId::parse).transpose().map_err(|_| wrong("refund_id"))?,
    })
}
