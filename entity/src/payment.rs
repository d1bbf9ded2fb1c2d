//! Payments: attempts at paying an order.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "payments")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub id: String,
    pub order_seq: i64,
    pub gateway: String,
    pub product: String,
    pub status: String,
    pub amount_minor: i64,
    pub currency: String,
    pub request: Json,
    pub action: Option<Json>,
    pub action_expires_at: Option<DateTimeUtc>,
    pub winner_of: Option<i64>,
    pub surplus: bool,
    pub late: bool,
    pub mismatch: bool,
    pub closing: bool,
    pub gateway_transaction_id: Option<String>,
    pub paid_currency: Option<String>,
    pub failure_reason: Option<String>,
    pub paid: i64,
    pub refund_reserved: i64,
    pub refunded: i64,
    pub refund_slot: Option<DateTimeUtc>,
    pub asked_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub since: DateTimeUtc,
    pub state_at: Option<DateTimeUtc>,
    pub next_at: Option<DateTimeUtc>,
    pub silent_since: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
