//! Rows to domain and back. A row that the rules do not allow is named by table, column and id.

use domain::{
    CloseReason, Currency, Evidence, Gateway, Money, Order, OrderId, OrderLine, OrderState, OrderStatus, Payment,
    PaymentId, PaymentState, PaymentStatus, Refund, RefundId, RefundReason, RefundState, RefundStatus, RefundTerms,
};
use entity::{event, order, order_line, payment, refund};
use sea_orm::ActiveValue::{NotSet, Set};

use super::StoreError;

pub(super) fn corrupt(table: &'static str, column: &'static str, row: impl ToString) -> StoreError {
    StoreError::Corrupt { table, column, row: row.to_string() }
}

fn currency(code: &str, table: &'static str, row: &str) -> Result<Currency, StoreError> {
    Currency::parse(code).map_err(|_| corrupt(table, "currency", row))
}

/// An order from its row and the rows that belong to it, each list in the order of `seq`.
pub(super) fn order_from(
    row: order::Model,
    lines: Vec<order_line::Model>,
    payments: Vec<payment::Model>,
    refunds: Vec<refund::Model>,
) -> Result<Order, StoreError> {
    let wrong = |column| corrupt("orders", column, &row.id);
    let status = OrderStatus::from_name(&row.status).ok_or_else(|| wrong("status"))?;
    let payment_id = |id: &Option<String>, column| {
        id.as_deref().and_then(|id| PaymentId::parse(id).ok()).ok_or_else(|| wrong(column))
    };
    let state = match status {
        OrderStatus::PendingPayment => OrderState::PendingPayment,
        OrderStatus::Paying => OrderState::Paying { attempt: payment_id(&row.open_payment, "open_payment")? },
        OrderStatus::Paid | OrderStatus::PartiallyRefunded | OrderStatus::Refunded => OrderState::Paid {
            winner: payment_id(&row.winner, "winner")?,
            at: row.paid_at.ok_or_else(|| wrong("paid_at"))?,
        },
        OrderStatus::Closed => OrderState::Closed {
            reason: row
                .close_reason
                .as_deref()
                .and_then(CloseReason::from_name)
                .ok_or_else(|| wrong("close_reason"))?,
            at: row.closed_at.ok_or_else(|| wrong("closed_at"))?,
        },
    };
    let closing = match row.closing.as_deref() {
        None => None,
        Some(reason) => Some(CloseReason::from_name(reason).ok_or_else(|| wrong("closing"))?),
    };
    let counted_on = row.counted_on.as_deref().map(str::parse).transpose().map_err(|_| wrong("counted_on"))?;
    let order = Order {
        id: OrderId::parse(&row.id).map_err(|_| wrong("id"))?,
        customer: row.customer_id,
        total: Money::new(row.total_minor, currency(&row.currency, "orders", &row.id)?),
        lines: lines.into_iter().map(line_from).collect::<Result<_, _>>()?,
        note: row.note,
        state,
        closing,
        version: row.version,
        created_at: row.created_at,
        expires_at: row.expires_at,
        counted_on,
        next_at: row.next_at,
        payments: payments.into_iter().map(payment_from).collect::<Result<_, _>>()?,
        refunds: refunds.into_iter().map(refund_from).collect::<Result<_, _>>()?,
        happened: Vec::new(),
    };
    if order.status() != status {
        return Err(corrupt("orders", "status", &order.id));
    }
    Ok(order)
}

pub(super) fn order_row(order: &Order, seq: Option<i64>) -> order::ActiveModel {
    let (open_payment, winner, paid_at, close_reason, closed_at) = match &order.state {
        OrderState::PendingPayment => (None, None, None, None, None),
        OrderState::Paying { attempt } => (Some(attempt.to_string()), None, None, None, None),
        OrderState::Paid { winner, at } => (None, Some(winner.to_string()), Some(*at), None, None),
        OrderState::Closed { reason, at } => (None, None, None, Some(reason.name().to_owned()), Some(*at)),
    };
    order::ActiveModel {
        seq: seq.map_or(NotSet, sea_orm::ActiveValue::Unchanged),
        id: Set(order.id.to_string()),
        customer_id: Set(order.customer.clone()),
        status: Set(order.status().name().to_owned()),
        close_reason: Set(close_reason),
        closing: Set(order.closing.map(|r| r.name().to_owned())),
        total_minor: Set(order.total.minor),
        currency: Set(order.total.currency.code().to_owned()),
        note: Set(order.note.clone()),
        open_payment: Set(open_payment),
        winner: Set(winner),
        version: Set(order.version),
        created_at: Set(order.created_at),
        expires_at: Set(order.expires_at),
        paid_at: Set(paid_at),
        closed_at: Set(closed_at),
        counted_on: Set(order.counted_on.map(|day| day.to_string())),
        next_at: Set(order.next_at),
        amqp_version: NotSet,
        amqp_at: NotSet,
        webhook_version: NotSet,
        webhook_at: NotSet,
        webhook_failing_since: NotSet,
    }
}

fn line_from(row: order_line::Model) -> Result<OrderLine, StoreError> {
    let currency = currency(&row.currency, "order_lines", &row.sku)?;
    Ok(OrderLine {
        unit_price: Money::new(row.unit_price_minor, currency),
        sku: row.sku,
        name: row.name,
        quantity: row.quantity,
    })
}

pub(super) fn line_row(line: &OrderLine, order_seq: i64, line_no: usize) -> order_line::ActiveModel {
    order_line::ActiveModel {
        seq: NotSet,
        order_seq: Set(order_seq),
        line_no: Set(i32::try_from(line_no).unwrap_or(i32::MAX)),
        sku: Set(line.sku.clone()),
        name: Set(line.name.clone()),
        quantity: Set(line.quantity),
        unit_price_minor: Set(line.unit_price.minor),
        currency: Set(line.unit_price.currency.code().to_owned()),
    }
}

pub(super) fn payment_from(row: payment::Model) -> Result<Payment, StoreError> {
    let wrong = |column| corrupt("payments", column, &row.id);
    let at = || row.state_at.ok_or_else(|| wrong("state_at"));
    let state = match PaymentStatus::from_name(&row.status).ok_or_else(|| wrong("status"))? {
        PaymentStatus::Created => PaymentState::Created,
        PaymentStatus::Unknown => PaymentState::Unknown,
        PaymentStatus::Pending => {
            let action = row.action.clone().ok_or_else(|| wrong("action"))?;
            PaymentState::Pending {
                action: serde_json::from_value(action).map_err(|_| wrong("action"))?,
                until: row.action_expires_at.ok_or_else(|| wrong("action_expires_at"))?,
            }
        }
        PaymentStatus::Succeeded => PaymentState::Succeeded {
            evidence: Evidence {
                transaction_id: row.gateway_transaction_id.clone().ok_or_else(|| wrong("gateway_transaction_id"))?,
                amount: Money::new(
                    row.paid,
                    currency(row.paid_currency.as_deref().unwrap_or_default(), "payments", &row.id)?,
                ),
                paid_at: at()?,
            },
            surplus: row.surplus,
            late: row.late,
            mismatch: row.mismatch,
        },
        PaymentStatus::Failed => {
            PaymentState::Failed { reason: row.failure_reason.clone().unwrap_or_default(), at: at()? }
        }
        PaymentStatus::Closed => PaymentState::Closed { at: at()? },
    };
    Gateway::from_name(&row.gateway).ok_or_else(|| wrong("gateway"))?;
    Ok(Payment {
        id: PaymentId::parse(&row.id).map_err(|_| wrong("id"))?,
        request: serde_json::from_value(row.request.clone()).map_err(|_| wrong("request"))?,
        state,
        paid: row.paid,
        refund_reserved: row.refund_reserved,
        refunded: row.refunded,
        refund_slot: row.refund_slot,
        closing: row.closing,
        silent_since: row.silent_since,
        since: row.since,
        next_at: row.next_at,
        created_at: row.created_at,
    })
}

pub(super) fn payment_row(payment: &Payment, order: &Order, order_seq: i64) -> payment::ActiveModel {
    let mut row = payment::ActiveModel {
        seq: NotSet,
        id: Set(payment.id.to_string()),
        order_seq: Set(order_seq),
        gateway: Set(payment.gateway().name().to_owned()),
        product: Set(payment.request.product.name().to_owned()),
        status: Set(payment.status().name().to_owned()),
        amount_minor: Set(payment.request.amount.minor),
        currency: Set(payment.request.amount.currency.code().to_owned()),
        request: Set(serde_json::to_value(&payment.request).unwrap_or_default()),
        action: Set(None),
        action_expires_at: Set(None),
        winner_of: Set(order.winner().is_some_and(|w| w.id == payment.id).then_some(order_seq)),
        surplus: Set(false),
        late: Set(false),
        mismatch: Set(false),
        closing: Set(payment.closing),
        silent_since: Set(payment.silent_since),
        gateway_transaction_id: Set(None),
        paid_currency: Set(None),
        failure_reason: Set(None),
        paid: Set(payment.paid),
        refund_reserved: Set(payment.refund_reserved),
        refunded: Set(payment.refunded),
        refund_slot: Set(payment.refund_slot),
        since: Set(payment.since),
        asked_at: NotSet,
        created_at: Set(payment.created_at),
        state_at: Set(None),
        next_at: Set(payment.next_at),
    };
    match &payment.state {
        PaymentState::Created | PaymentState::Unknown => {}
        PaymentState::Pending { action, until } => {
            row.action = Set(serde_json::to_value(action).ok());
            row.action_expires_at = Set(Some(*until));
        }
        PaymentState::Succeeded { evidence, surplus, late, mismatch } => {
            row.surplus = Set(*surplus);
            row.late = Set(*late);
            row.mismatch = Set(*mismatch);
            row.gateway_transaction_id = Set(Some(evidence.transaction_id.clone()));
            row.paid_currency = Set(Some(evidence.amount.currency.code().to_owned()));
            row.state_at = Set(Some(evidence.paid_at));
        }
        PaymentState::Failed { reason, at } => {
            row.failure_reason = Set(Some(reason.clone()));
            row.state_at = Set(Some(*at));
        }
        PaymentState::Closed { at } => row.state_at = Set(Some(*at)),
    }
    row
}

pub(super) fn refund_from(row: refund::Model) -> Result<Refund, StoreError> {
    let wrong = |column| corrupt("refunds", column, &row.id);
    let at = || row.state_at.ok_or_else(|| wrong("state_at"));
    let state = match status_from(&row.status, row.approval.as_deref()).ok_or_else(|| wrong("status"))? {
        RefundStatus::AwaitingApproval => RefundState::AwaitingApproval,
        RefundStatus::Rejected => RefundState::Rejected { reason: row.failure_reason.clone(), at: at()? },
        RefundStatus::Requested => RefundState::Requested,
        RefundStatus::Processing => RefundState::Processing,
        RefundStatus::Unknown => RefundState::Unknown,
        RefundStatus::Succeeded => RefundState::Succeeded { at: at()? },
        RefundStatus::Failed => {
            RefundState::Failed { reason: row.failure_reason.clone().unwrap_or_default(), at: at()? }
        }
    };
    Ok(Refund {
        id: RefundId::parse(&row.id).map_err(|_| wrong("id"))?,
        payment: PaymentId::parse(&row.payment_id).map_err(|_| wrong("payment_id"))?,
        amount: Money::new(row.amount_minor, currency(&row.currency, "refunds", &row.id)?),
        terms: RefundTerms {
            reason: RefundReason::from_name(&row.reason).ok_or_else(|| wrong("reason"))?,
            note: row.note.clone(),
            requested_by: row.requested_by.clone(),
        },
        approved_by: row.approved_by.clone(),
        state,
        sent: row.sent,
        since: row.since,
        next_at: row.next_at,
        created_at: row.created_at,
    })
}

/// How a refund's status is stored: approval has a column of its own.
pub(super) fn stored_status(status: RefundStatus) -> &'static str {
    match status {
        RefundStatus::AwaitingApproval => RefundStatus::Requested.name(),
        RefundStatus::Rejected => RefundStatus::Failed.name(),
        status => status.name(),
    }
}

/// What stands in that column while it is so; `None`: `GIVEN`, or nothing.
pub(super) fn stored_approval(status: RefundStatus) -> Option<&'static str> {
    match status {
        RefundStatus::AwaitingApproval => Some("AWAITED"),
        RefundStatus::Rejected => Some("REFUSED"),
        _ => None,
    }
}

fn status_from(status: &str, approval: Option<&str>) -> Option<RefundStatus> {
    match (RefundStatus::from_name(status)?, approval) {
        (RefundStatus::Requested, Some("AWAITED")) => Some(RefundStatus::AwaitingApproval),
        (RefundStatus::Failed, Some("REFUSED")) => Some(RefundStatus::Rejected),
        (RefundStatus::AwaitingApproval | RefundStatus::Rejected, _) | (_, Some("AWAITED" | "REFUSED")) => None,
        (status, _) => Some(status),
    }
}

pub(super) fn refund_row(refund: &Refund, order_seq: i64) -> refund::ActiveModel {
    let (failure_reason, state_at) = match &refund.state {
        RefundState::AwaitingApproval | RefundState::Requested | RefundState::Processing | RefundState::Unknown => {
            (None, None)
        }
        RefundState::Rejected { reason, at } => (reason.clone(), Some(*at)),
        RefundState::Succeeded { at } => (None, Some(*at)),
        RefundState::Failed { reason, at } => (Some(reason.clone()), Some(*at)),
    };
    let approval = stored_approval(refund.status()).or(refund.approved_by.is_some().then_some("GIVEN"));
    refund::ActiveModel {
        seq: NotSet,
        id: Set(refund.id.to_string()),
        order_seq: Set(order_seq),
        payment_id: Set(refund.payment.to_string()),
        status: Set(stored_status(refund.status()).to_owned()),
        amount_minor: Set(refund.amount.minor),
        currency: Set(refund.amount.currency.code().to_owned()),
        reason: Set(refund.terms.reason.name().to_owned()),
        note: Set(refund.terms.note.clone()),
        requested_by: Set(refund.terms.requested_by.clone()),
        failure_reason: Set(failure_reason),
        approval: Set(approval.map(str::to_owned)),
        approved_by: Set(refund.approved_by.clone()),
        sent: Set(refund.sent),
        since: Set(refund.since),
        created_at: Set(refund.created_at),
        state_at: Set(state_at),
        next_at: Set(refund.next_at),
    }
}

pub(super) fn event_rows(order: &Order, order_seq: i64, at: domain::Timestamp) -> Vec<event::ActiveModel> {
    let first = order.version - order.happened.len() as i64 + 1;
    (first..)
        .zip(&order.happened)
        .map(|(version, event)| event::ActiveModel {
            seq: NotSet,
            order_seq: Set(order_seq),
            version: Set(version),
            kind: Set(event.kind.name().to_owned()),
            facts: Set(event.facts.clone()),
            actor: Set(event.actor.clone()),
            at: Set(at),
        })
        .collect()
}
