//! What queries and subscriptions ask. Every answer is cut to what the caller may see.

use std::sync::Arc;

use domain::{NewEvent, Order, OrderId, PaymentId, RefundId, Timestamp};

use super::{Caller, PaymentError, Payments};
use crate::store::{OrderFilter, Page, PageRequest, Product, RefundFilter};

impl Payments {
    /// One order; somebody else's is `NotFound`.
    pub async fn order(&self, caller: &Caller, id: &OrderId) -> Result<Arc<Order>, PaymentError> {
        let order = self.must_find(id).await?;
        if caller.sees(&order) { Ok(order) } else { Err(PaymentError::NotFound("order")) }
    }

    /// The order of one payment.
    pub async fn order_of_payment(&self, caller: &Caller, id: &PaymentId) -> Result<Arc<Order>, PaymentError> {
        let order = self.0.store.order_of_payment(id.as_str()).await?.ok_or(PaymentError::NotFound("payment"))?;
        self.order(caller, &order).await.map_err(|e| named(e, "payment"))
    }

    /// The order of one refund.
    pub async fn order_of_refund(&self, caller: &Caller, id: &RefundId) -> Result<Arc<Order>, PaymentError> {
        let order = self.0.store.order_of_refund(id.as_str()).await?.ok_or(PaymentError::NotFound("refund"))?;
        self.order(caller, &order).await.map_err(|e| named(e, "refund"))
    }

    /// A page of orders: a customer's own, staff's all. Only staff may name a customer.
    pub async fn orders(
        &self,
        caller: &Caller,
        mut filter: OrderFilter,
        page: &PageRequest,
    ) -> Result<Page<Arc<Order>>, PaymentError> {
        if !caller.is_staff() {
            if filter.customer.as_ref().is_some_and(|c| *c != caller.subject) {
                return Err(PaymentError::Forbidden);
            }
            filter.customer = Some(caller.subject.clone());
        }
        let found = self.0.store.orders(&filter, page).await?;
        let items = found.items.into_iter().map(Arc::new).collect();
        Ok(Page { items, has_previous: found.has_previous, has_next: found.has_next })
    }

    /// A page of refunds, for staff.
    pub async fn refunds(
        &self,
        caller: &Caller,
        filter: &RefundFilter,
        page: &PageRequest,
    ) -> Result<Page<(Arc<Order>, RefundId)>, PaymentError> {
        if !caller.is_staff() {
            return Err(PaymentError::Forbidden);
        }
        Ok(self.0.store.refunds(filter, page).await?)
    }

    /// What happened to an order that the caller sees, after version `after`.
    pub async fn events(
        &self,
        order: &OrderId,
        first: u64,
        after: i64,
    ) -> Result<Page<(i64, Timestamp, NewEvent)>, PaymentError> {
        Ok(self.0.store.events(order, first, after).await?)
    }

    /// One product.
    pub async fn product(&self, sku: &str) -> Result<Option<Product>, PaymentError> {
        Ok(self.0.store.products_by_sku(&[sku.to_owned()]).await?.pop())
    }

    /// A page of the catalogue, by code.
    pub async fn products(&self, first: u64, after: Option<&str>) -> Result<Page<Product>, PaymentError> {
        Ok(self.0.store.products(first, after).await?)
    }
}

fn named(e: PaymentError, what: &'static str) -> PaymentError {
    if matches!(e, PaymentError::NotFound(_)) { PaymentError::NotFound(what) } else { e }
}
