//! Quotes that are used: each makes one order.

use domain::{OrderId, Timestamp};
use entity::quote::{ActiveModel, Entity};
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;

use super::{StoreError, Tx};

impl Tx {
    /// Records that an issuer's quote made this order. `IdTaken`: it made another one before.
    ///
    /// The row is kept as long as the order: for ever.
    pub async fn use_quote(&self, issuer: &str, jti: &str, order: &OrderId, now: Timestamp) -> Result<(), StoreError> {
        let row = ActiveModel {
            issuer: Set(issuer.to_owned()),
            jti: Set(jti.to_owned()),
            order_id: Set(order.to_string()),
            used_at: Set(now),
        };
        Entity::insert(row).exec_without_returning(&self.inner).await?;
        Ok(())
    }
}
