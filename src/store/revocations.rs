//! Tokens that are no longer taken. A small table that every process reads whole when it has changed.

use domain::Timestamp;
use entity::token_revocation::{ActiveModel, Column, Entity};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::{Store, StoreError, Tx};

/// Tokens that are no longer taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// All of a subject that were issued before a time.
    Subject {
        /// Whose.
        subject: String,
        /// By the tokens' `iat`.
        issued_before: Timestamp,
    },
    /// Whichever carries this `jti`.
    Jti(String),
}

/// How much there is: it changes with every revocation that comes or goes, in whichever order they commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationMark {
    count: i64,
    newest: i64,
}

impl Store {
    /// How much there is now.
    pub async fn revocation_mark(&self) -> Result<RevocationMark, StoreError> {
        let found: Option<(i64, Option<i64>)> = Entity::find()
            .select_only()
            .column_as(Column::Seq.count(), "count")
            .column_as(Column::Seq.max(), "newest")
            .into_tuple()
            .one(&self.read)
            .await?;
        let (count, newest) = found.unwrap_or_default();
        Ok(RevocationMark { count, newest: newest.unwrap_or_default() })
    }

    /// All of them.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let rows = Entity::find().all(&self.read).await?;
        let read = rows.into_iter().filter_map(|row| match (row.subject, row.issued_before, row.jti) {
            (Some(subject), Some(issued_before), _) => Some(Revocation::Subject { subject, issued_before }),
            (_, _, Some(jti)) => Some(Revocation::Jti(jti)),
            // A CHECK forbids it.
            _ => None,
        });
        Ok(read.collect())
    }

    /// Forgets those from before `before`; how many. The tokens that they were about have expired.
    pub async fn purge_revocations(&self, before: Timestamp) -> Result<u64, StoreError> {
        let deleted = Entity::delete_many().filter(Column::RevokedAt.lt(before)).exec(&self.write).await?;
        Ok(deleted.rows_affected)
    }
}

impl Tx {
    /// Records that these tokens are no longer taken.
    pub async fn revoke(&self, revocation: &Revocation, now: Timestamp) -> Result<(), StoreError> {
        let (subject, issued_before, jti) = match revocation.clone() {
            Revocation::Subject { subject, issued_before } => (Some(subject), Some(issued_before), None),
            Revocation::Jti(jti) => (None, None, Some(jti)),
        };
        let row = ActiveModel {
            seq: NotSet,
            subject: Set(subject),
            issued_before: Set(issued_before),
            jti: Set(jti),
            revoked_at: Set(now),
        };
        Entity::insert(row).exec_without_returning(&self.inner).await?;
        Ok(())
    }
}
