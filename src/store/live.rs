//! What live status asks: has anything changed? Few columns, many orders at a time.

use domain::OrderId;
use entity::{event, order};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, rows};

/// Ids of one question at most; every database takes as many parameters.
const AT_ONCE: usize = 500;

impl Store {
    /// The versions of these orders now; what does not exist is left out.
    pub async fn versions(&self, ids: &[OrderId]) -> Result<Vec<(OrderId, i64)>, StoreError> {
        let mut versions = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let found: Vec<(String, i64)> = order::Entity::find()
                .select_only()
                .columns([order::Column::Id, order::Column::Version])
                .filter(order::Column::Id.is_in(ids.iter().map(OrderId::as_str)))
                .into_tuple()
                .all(&self.read)
                .await?;
            for (id, version) in found {
                versions.push((read_id(&id)?, version));
            }
        }
        Ok(versions)
    }

    /// The number of the newest event of all; 0: there is none.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        let newest = event::Entity::find()
            .select_only()
            .column(event::Column::Seq)
            .order_by_desc(event::Column::Seq)
            .limit(1)
            .into_tuple()
            .one(&self.read)
            .await?;
        Ok(newest.unwrap_or_default())
    }

    /// The events after that number, oldest first: theirs, and the order and version that each belongs to. A
    /// smaller number may be committed after a larger one: look again a little further back.
    pub async fn events_after(&self, seq: i64, limit: u64) -> Result<Vec<(i64, OrderId, i64)>, StoreError> {
        let found: Vec<(i64, String, i64)> = event::Entity::find()
            .select_only()
            .column(event::Column::Seq)
            .column(order::Column::Id)
            .column(event::Column::Version)
            .join(sea_orm::JoinType::InnerJoin, of_order())
            .filter(event::Column::Seq.gt(seq))
            .order_by_asc(event::Column::Seq)
            .limit(limit)
            .into_tuple()
            .all(&self.read)
            .await?;
        found.into_iter().map(|(seq, id, version)| Ok((seq, read_id(&id)?, version))).collect()
    }
}

fn of_order() -> sea_orm::RelationDef {
    event::Entity::belongs_to(order::Entity).from(event::Column::OrderSeq).to(order::Column::Seq).into()
}

fn read_id(id: &str) -> Result<OrderId, StoreError> {
    OrderId::parse(id).map_err(|_| rows::corrupt("orders", "id", id))
}
