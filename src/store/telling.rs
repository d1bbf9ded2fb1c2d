//! Who outside has been told of which order, and up to which version. The event table is the outbox; how far each
//! channel has got stands in the order's own row, which every change writes anyway.

use domain::{EventType, OrderId, Timestamp};
use entity::{event, order};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LockBehavior, LockType, SimpleExpr};
use sea_orm::{
    ActiveValue, ColumnTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Statement,
    UpdateMany,
};
use tokio::sync::watch;

use super::{Store, StoreError, Tx, rows};

/// A way on which events go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// RabbitMQ.
    Amqp,
    /// An HTTP address.
    Webhook,
}

impl Channel {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Webhook => "webhook",
        }
    }

    const fn version(self) -> order::Column {
        match self {
            Self::Amqp => order::Column::AmqpVersion,
            Self::Webhook => order::Column::WebhookVersion,
        }
    }

    const fn at(self) -> order::Column {
        match self {
            Self::Amqp => order::Column::AmqpAt,
            Self::Webhook => order::Column::WebhookAt,
        }
    }
}

/// The channels that are configured here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// RabbitMQ.
    pub amqp: bool,
    /// An HTTP address.
    pub webhook: bool,
}

impl Channels {
    fn each(self) -> [(Channel, bool); 2] {
        [(Channel::Amqp, self.amqp), (Channel::Webhook, self.webhook)]
    }
}

/// An order of which a channel is to be told, and which nobody else tells it of until `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub(super) seq: i64,
    /// Which order.
    pub order: OrderId,
    /// The last version that was told.
    pub told: i64,
    /// Until when nobody else takes it.
    pub until: Timestamp,
    /// Since when its next event is not taken.
    pub failing_since: Option<Timestamp>,
}

/// An event that somebody is to be told of.
#[derive(Clone, Debug, PartialEq)]
pub struct ToTell {
    /// Whose.
    pub order: OrderId,
    /// Its number within the order.
    pub version: i64,
    /// What happened.
    pub kind: EventType,
    /// Ids and amounts, as they were noted.
    pub facts: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

/// What a channel has not been told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// How many events.
    pub events: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
}

impl Store {
    /// The same store, which from now on notes for these channels what they are to be told.
    #[must_use]
    pub fn telling(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Follows what is committed here. Only a hint: other processes commit, too.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Says that there is something to do.
    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Takes orders of which this channel is to be told at `now`, at most `limit`, those that wait longest first: the
    /// ones whose events are taken, or with `failing` the others. Nobody else gets them before `until`: who takes
    /// one and dies loses nothing.
    pub async fn take_behind(
        &self,
        channel: Channel,
        failing: bool,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<Behind>, StoreError> {
        let since = order::Column::WebhookFailingSince;
        let mut due = order::Entity::find()
            .select_only()
            .columns([order::Column::Seq, order::Column::Id, channel.version(), since])
            .filter(channel.at().lte(now))
            .order_by_asc(channel.at())
            .limit(limit);
        if channel == Channel::Webhook {
            due = due.filter(if failing { since.is_not_null() } else { since.is_null() });
        }
        // Most looks find nothing: they begin no transaction.
        if due.clone().into_tuple::<Row>().all(&self.read).await?.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.begin().await?;
        if tx.backend() != DbBackend::Sqlite {
            // What another process takes at this moment, or changes, is left for the next look.
            due = due.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        }
        let found: Vec<Row> = due.into_tuple().all(&tx.inner).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        order::Entity::update_many()
            .col_expr(channel.at(), Expr::val(until))
            .filter(order::Column::Seq.is_in(found.iter().map(|(seq, ..)| *seq)))
            .exec(&tx.inner)
            .await?;
        tx.inner.commit().await?;
        let found = found.into_iter().map(|(seq, id, told, failing_since)| {
            let order = OrderId::parse(&id).map_err(|_| rows::corrupt("orders", "id", &id))?;
            Ok(Behind { seq, order, told: told.unwrap_or_default(), until, failing_since })
        });
        found.collect()
    }

    /// The next events of which it is behind, in the order of their versions.
    pub async fn to_tell(&self, behind: &Behind, limit: u64) -> Result<Vec<ToTell>, StoreError> {
        let found = event::Entity::find()
            .filter(event::Column::OrderSeq.eq(behind.seq))
            .filter(event::Column::Version.gt(behind.told))
            .order_by_asc(event::Column::Version)
            .limit(limit)
            .all(&self.write)
            .await?;
        found.into_iter().map(|row| to_tell_from(behind.order.clone(), row)).collect()
    }

    /// The channel has acknowledged the next event. When there are more, they are due at `next_at`.
    pub async fn told(&self, channel: Channel, behind: &mut Behind, next_at: Timestamp) -> Result<(), StoreError> {
        next_version(channel, behind, next_at).exec(&self.write).await?;
        behind.told += 1;
        behind.failing_since = None;
        Ok(())
    }

    /// The order may be taken again from `at` on; by somebody else, for all we know.
    pub async fn let_go(&self, channel: Channel, behind: &Behind, at: Timestamp) -> Result<(), StoreError> {
        still(channel, behind).col_expr(channel.at(), Expr::val(at)).exec(&self.write).await?;
        Ok(())
    }

    /// The webhook did not take the next event: it is told again at `next_at`.
    pub async fn not_taken(&self, behind: &Behind, now: Timestamp, next_at: Timestamp) -> Result<(), StoreError> {
        let since = order::Column::WebhookFailingSince;
        let since_now = Func::coalesce([Expr::col(since), Expr::val(now)]);
        still(Channel::Webhook, behind)
            .col_expr(since, since_now.into())
            .col_expr(Channel::Webhook.at(), Expr::val(next_at))
            .exec(&self.write)
            .await?;
        Ok(())
    }

    /// What this channel has not been told yet. Reads a row for each order that is behind.
    pub async fn untold(&self, channel: Channel) -> Result<Untold, StoreError> {
        #[derive(FromQueryResult)]
        struct Found {
            events: i64,
            oldest: Option<Timestamp>,
        }
        let (version, at) = (format!("{}_version", channel.name()), format!("{}_at", channel.name()));
        let backend = self.read.get_database_backend();
        let integer = if backend == DbBackend::MySql { "SIGNED" } else { "BIGINT" };
        let sql = format!(
            "SELECT CAST(COALESCE(SUM(o.version - o.{version}), 0) AS {integer}) AS events, MIN(e.at) AS oldest \
             FROM orders o JOIN events e ON e.order_seq = o.seq AND e.version = o.{version} + 1 WHERE o.{at} IS NOT NULL"
        );
        let found = Found::find_by_statement(Statement::from_string(backend, sql)).one(&self.read).await?;
        let found = found.map(|f| (u64::try_from(f.events).unwrap_or_default(), f.oldest));
        let (events, oldest) = found.unwrap_or_default();
        Ok(Untold { events, oldest })
    }
}

type Row = (i64, String, Option<i64>, Option<Timestamp>);

impl Tx {
    /// Notes on a new order that the channels are to be told of it.
    pub(super) fn to_tell_of_new(&self, row: &mut order::ActiveModel, now: Timestamp) {
        let Channels { amqp, webhook } = self.channels;
        if amqp {
            (row.amqp_version, row.amqp_at) = (ActiveValue::Set(Some(0)), ActiveValue::Set(Some(now)));
        }
        if webhook {
            (row.webhook_version, row.webhook_at) = (ActiveValue::Set(Some(0)), ActiveValue::Set(Some(now)));
        }
    }

    /// Notes on an order that stood at `before` that the channels are to be told what happens to it now. A channel
    /// that is told of it for the first time begins here; one that is not configured here is told of the orders
    /// that it knows, for it may be configured elsewhere. A time that is set stays: somebody tells it, or waits.
    pub(super) fn to_tell(
        &self,
        mut update: UpdateMany<order::Entity>,
        before: i64,
        now: Timestamp,
    ) -> UpdateMany<order::Entity> {
        for (channel, configured) in self.channels.each() {
            let (version, at) = (channel.version(), channel.at());
            let set_or_now: SimpleExpr = Func::coalesce([Expr::col(at), Expr::val(now)]).into();
            update = if configured {
                let known_or_before = Func::coalesce([Expr::col(version), Expr::val(before)]);
                update.col_expr(version, known_or_before.into()).col_expr(at, set_or_now)
            } else {
                let known = Expr::case(Expr::col(version).is_not_null(), set_or_now);
                update.col_expr(at, known.into())
            };
        }
        update
    }

    /// An event is passed over; the order goes on with its next one.
    pub(super) async fn passed_over(&self, behind: &Behind, next_at: Timestamp) -> Result<bool, StoreError> {
        // The next one fails since then, too, if it does: what is behind it has waited as long.
        let passed = still(Channel::Webhook, behind)
            .col_expr(Channel::Webhook.version(), Expr::val(behind.told + 1))
            .col_expr(Channel::Webhook.at(), more_or_nothing(behind.told + 1, next_at))
            .exec(&self.inner)
            .await?;
        Ok(passed.rows_affected == 1)
    }
}

fn next_version(channel: Channel, behind: &Behind, next_at: Timestamp) -> UpdateMany<order::Entity> {
    let update = still(channel, behind)
        .col_expr(channel.version(), Expr::val(behind.told + 1))
        .col_expr(channel.at(), more_or_nothing(behind.told + 1, next_at));
    match channel {
        Channel::Amqp => update,
        Channel::Webhook => update.col_expr(order::Column::WebhookFailingSince, Expr::val(None::<Timestamp>)),
    }
}

/// The order, as long as nobody else has told more of it: what was told stays told.
fn still(channel: Channel, behind: &Behind) -> UpdateMany<order::Entity> {
    order::Entity::update_many()
        .filter(order::Column::Seq.eq(behind.seq))
        .filter(channel.version().eq(behind.told))
        .filter(channel.at().is_not_null())
}

fn more_or_nothing(told: i64, next_at: Timestamp) -> SimpleExpr {
    Expr::case(Expr::col(order::Column::Version).gt(told), Expr::val(next_at)).into()
}

pub(super) fn to_tell_from(order: OrderId, row: event::Model) -> Result<ToTell, StoreError> {
    let kind = EventType::from_name(&row.kind).ok_or_else(|| rows::corrupt("events", "type", row.seq))?;
    Ok(ToTell { order, version: row.version, kind, facts: row.facts, at: row.at })
}
