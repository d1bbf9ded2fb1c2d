//! A refund as callers see it.

use std::sync::Arc;

use async_graphql::{ID, Object};
use domain::{Order, RefundId, RefundState, Timestamp};

use super::enums::{RefundReason, RefundStatus};
use super::error::ApiError;
use super::order::OrderView;
use super::payment::PaymentView;
use super::product::Money;
use crate::payments::PaymentError;

/// Money of one payment on its way back.
pub struct RefundView {
    pub(super) order: Arc<Order>,
    pub(super) id: RefundId,
}

impl RefundView {
    fn it(&self) -> Result<&domain::Refund, ApiError> {
        self.order
            .refund(&self.id)
            .ok_or_else(|| PaymentError::Internal("a refund without its order".to_owned()).into())
    }
}

#[Object(name = "Refund")]
impl RefundView {
    /// `rfd_…`: also the number under which the gateway knows it.
    async fn id(&self) -> ID {
        ID(self.id.to_string())
    }
    /// Whose order it is.
    async fn order(&self) -> OrderView {
        OrderView(self.order.clone())
    }
    /// Which payment's money it is.
    async fn payment(&self) -> Result<PaymentView, ApiError> {
        Ok(PaymentView { order: self.order.clone(), id: self.it()?.payment.clone() })
    }
    /// Where it stands.
    async fn status(&self) -> Result<RefundStatus, ApiError> {
        Ok(self.it()?.status().into())
    }
    /// How much.
    async fn amount(&self) -> Result<Money, ApiError> {
        Ok(Money(self.it()?.amount))
    }
    /// Why.
    async fn reason(&self) -> Result<RefundReason, ApiError> {
        Ok(self.it()?.terms.reason.into())
    }
    /// Staff's own words.
    async fn note(&self) -> Result<Option<&str>, ApiError> {
        Ok(self.it()?.terms.note.as_deref())
    }
    /// The subject who asked for it, or `payonce`.
    async fn requested_by(&self) -> Result<&str, ApiError> {
        Ok(&self.it()?.terms.requested_by)
    }
    /// The subject who approved it, where that was needed.
    async fn approved_by(&self) -> Result<Option<&str>, ApiError> {
        Ok(self.it()?.approved_by.as_deref())
    }
    /// Why it failed or was rejected, in words that may be shown.
    async fn failure_reason(&self) -> Result<Option<&str>, ApiError> {
        Ok(match &self.it()?.state {
            RefundState::Failed { reason, .. } => Some(reason),
            RefundState::Rejected { reason, .. } => reason.as_deref(),
            _ => None,
        })
    }
    /// When it was recorded.
    async fn created_at(&self) -> Result<Timestamp, ApiError> {
        Ok(self.it()?.created_at)
    }
    /// When the money was back, by the gateway's clock.
    async fn succeeded_at(&self) -> Result<Option<Timestamp>, ApiError> {
        Ok(match self.it()?.state {
            RefundState::Succeeded { at } => Some(at),
            _ => None,
        })
    }
}
