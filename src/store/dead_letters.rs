//! Events that a webhook did not take for too long: kept until they are told once more, and taken.

use std::collections::HashMap;

use domain::{EventId, OrderId, Timestamp};
use entity::{dead_letter, event, order};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::telling::to_tell_from;
use super::{Behind, Page, Store, StoreError, ToTell, rows};

/// Characters of a reason that are kept.
const REASON: usize = 200;

/// An event that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    seq: i64,
    /// Its id outside.
    pub id: EventId,
    /// What it says.
    pub event: ToTell,
    /// Why it was not taken the last time.
    pub reason: String,
    /// Since when it was not taken.
    pub failing_since: Timestamp,
    /// When it was told the last time.
    pub tried_at: Timestamp,
    /// It is to be told once more, and that has not happened yet.
    pub resending: bool,
}

impl Store {
    /// Gives the next event up: it is kept as a dead letter, and its order goes on with the one after it.
    pub async fn give_up(
        &self,
        behind: &mut Behind,
        id: &EventId,
        reason: &str,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        if tx.passed_over(behind, next_at).await? {
            let letter = dead_letter::ActiveModel {
                event_id: Set(id.to_string()),
                order_seq: Set(behind.seq),
                version: Set(behind.told + 1),
                reason: Set(reason.chars().take(REASON).collect()),
                failing_since: Set(behind.failing_since.unwrap_or(now)),
                tried_at: Set(now),
                resend_at: Set(None),
                ..Default::default()
            };
            dead_letter::Entity::insert(letter).exec_without_returning(&tx.inner).await?;
        }
        tx.commit().await?;
        behind.told += 1;
        Ok(())
    }

    /// How many there are.
    pub async fn dead_letter_count(&self) -> Result<u64, StoreError> {
        Ok(dead_letter::Entity::find().count(&self.read).await?)
    }

    /// A page of them, oldest first, after this one.
    pub async fn dead_letters(&self, first: u64, after: Option<&str>) -> Result<Page<DeadLetter>, StoreError> {
        let mut query = dead_letter::Entity::find().order_by_asc(dead_letter::Column::Seq).limit(first + 1);
        if let Some(id) = after {
            let at = Query::select()
                .column(dead_letter::Column::Seq)
                .from(dead_letter::Entity)
                .and_where(dead_letter::Column::EventId.eq(id))
                .take();
            query = query.filter(Expr::col(dead_letter::Column::Seq).gt(Expr::SubQuery(None, Box::new(at.into()))));
        }
        let letters = self.letters(query.all(&self.read).await?).await?;
        Ok(Page::forward(letters, first, after.is_some()))
    }

    /// Has these told once more, or all of them; how many. Those that are waiting for it already wait on.
    pub async fn resend(&self, ids: Option<&[EventId]>, now: Timestamp) -> Result<u64, StoreError> {
        let mut wanted = dead_letter::Entity::update_many()
            .col_expr(dead_letter::Column::ResendAt, Expr::val(now))
            .filter(dead_letter::Column::ResendAt.is_null());
        if let Some(ids) = ids {
            wanted = wanted.filter(dead_letter::Column::EventId.is_in(ids.iter().map(EventId::as_str)));
        }
        let wanted = wanted.exec(&self.write).await?.rows_affected;
        self.changed();
        Ok(wanted)
    }

    /// Takes what is to be told once more at `now`, oldest first. Nobody else gets it before `until`.
    pub async fn take_resends(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let wanted = dead_letter::Entity::find()
            .filter(dead_letter::Column::ResendAt.lte(now))
            .order_by_asc(dead_letter::Column::Seq)
            .limit(limit)
            .all(&self.write)
            .await?;
        let mut taken = Vec::new();
        for row in wanted {
            let mine = dead_letter::Entity::update_many()
                .col_expr(dead_letter::Column::ResendAt, Expr::val(until))
                .filter(dead_letter::Column::Seq.eq(row.seq))
                .filter(dead_letter::Column::ResendAt.eq(row.resend_at))
                .exec(&self.write)
                .await?;
            if mine.rows_affected == 1 {
                taken.push(row);
            }
        }
        self.letters(taken).await
    }

    /// It was taken at last.
    pub async fn resent(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        dead_letter::Entity::delete_by_id(letter.seq).exec(&self.write).await?;
        Ok(())
    }

    /// It was not taken this time either.
    pub async fn not_resent(&self, letter: &DeadLetter, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let reason: String = reason.chars().take(REASON).collect();
        dead_letter::Entity::update_many()
            .col_expr(dead_letter::Column::Reason, Expr::val(reason))
            .col_expr(dead_letter::Column::TriedAt, Expr::val(now))
            .col_expr(dead_letter::Column::ResendAt, Expr::val(None::<Timestamp>))
            .filter(dead_letter::Column::Seq.eq(letter.seq))
            .exec(&self.write)
            .await?;
        Ok(())
    }

    /// The letters of these rows, with what they say; two more queries however many there are.
    async fn letters(&self, rows: Vec<dead_letter::Model>) -> Result<Vec<DeadLetter>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let of = |row: &dead_letter::Model| row.order_seq;
        let orders: Vec<(i64, String)> = order::Entity::find()
            .select_only()
            .columns([order::Column::Seq, order::Column::Id])
            .filter(order::Column::Seq.is_in(rows.iter().map(of)))
            .into_tuple()
            .all(&self.read)
            .await?;
        let orders: HashMap<i64, String> = orders.into_iter().collect();
        let events = event::Entity::find()
            .filter(event::Column::OrderSeq.is_in(rows.iter().map(of)))
            .filter(event::Column::Version.is_in(rows.iter().map(|row| row.version)))
            .all(&self.read)
            .await?;
        let mut events: HashMap<(i64, i64), event::Model> =
            events.into_iter().map(|event| ((event.order_seq, event.version), event)).collect();
        let letters = rows.into_iter().map(|row| {
            let wrong = |column| rows::corrupt("dead_letters", column, row.seq);
            let order = orders.get(&row.order_seq).and_then(|id| OrderId::parse(id).ok());
            let event = events.remove(&(row.order_seq, row.version)).ok_or_else(|| wrong("version"))?;
            Ok(DeadLetter {
                seq: row.seq,
                id: EventId::parse(&row.event_id).map_err(|_| wrong("event_id"))?,
                event: to_tell_from(order.ok_or_else(|| wrong("order_seq"))?, event)?,
                reason: row.reason,
                failing_since: row.failing_since,
                tried_at: row.tried_at,
                resending: row.resend_at.is_some(),
            })
        });
        letters.collect()
    }
}
