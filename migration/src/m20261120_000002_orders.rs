//! Orders, their lines, payments, refunds and events, and the gateways' notifications.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        manager.create_table(orders(&c)).await?;
        manager.create_table(order_lines(&c)).await?;
        manager.create_table(payments(&c)).await?;
        manager.create_table(refunds(&c)).await?;
        manager.create_table(events(&c)).await?;
        manager.create_table(notifications(&c)).await?;
        for (table, name, columns) in [
            ("orders", "orders_next_at", &["next_at"][..]),
            ("orders", "orders_customer", &["customer_id", "seq"]),
            ("order_lines", "order_lines_order", &["order_seq", "line_no"]),
            ("payments", "payments_next_at", &["next_at"]),
            ("payments", "payments_order", &["order_seq"]),
            ("payments", "payments_transaction", &["gateway_transaction_id"]),
            ("refunds", "refunds_next_at", &["next_at"]),
            ("refunds", "refunds_order", &["order_seq"]),
            ("notifications", "notifications_number", &["gateway", "number"]),
        ] {
            let mut index = Index::create().name(name).table(table).take();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        let unique = |name: &'static str, table: &'static str, a: &'static str, b: &'static str| {
            Index::create().name(name).table(table).col(a).col(b).unique().take()
        };
        manager.create_index(unique("events_version", "events", "order_seq", "version")).await?;
        manager.create_index(unique("notifications_once", "notifications", "gateway", "notification_id")).await
    }
}

fn belongs_to_order(table: &'static str) -> ForeignKeyCreateStatement {
    let name = format!("{table}_order_fk");
    ForeignKey::create().name(name).from(table, "order_seq").to("orders", "seq").take()
}

fn orders(c: &Columns) -> TableCreateStatement {
    Table::create()
        .table("orders")
        .col(big_pk_auto("seq"))
        .col(c.exact("id", 30).unique_key())
        .col(c.exact("customer_id", 255))
        .col(c.exact("status", 20))
        .col(c.exact_null("close_reason", 10))
        .col(c.exact_null("closing", 10))
        .col(big_integer("total_minor"))
        .col(c.exact("currency", 3))
        .col(text_null("note"))
        .col(c.exact_null("open_payment", 30))
        .col(c.exact_null("winner", 30))
        .col(big_integer("version"))
        .col(c.at("created_at"))
        .col(c.at("expires_at"))
        .col(c.at_null("paid_at"))
        .col(c.at_null("closed_at"))
        .col(c.at_null("next_at"))
        .check(("orders_total", Expr::col("total_minor").gt(0)))
        .check(("orders_version", Expr::col("version").gt(0)))
        .check((
            "orders_status",
            Expr::col("status").is_in([
                "PENDING_PAYMENT",
                "PAYING",
                "PAID",
                "PARTIALLY_REFUNDED",
                "REFUNDED",
                "CLOSED",
            ]),
        ))
        .check(("orders_closed", Expr::col("status").ne("CLOSED").or(Expr::col("close_reason").is_not_null())))
        .check(("orders_paying", Expr::col("status").ne("PAYING").or(Expr::col("open_payment").is_not_null())))
        .take()
}

fn order_lines(c: &Columns) -> TableCreateStatement {
    Table::create()
        .table("order_lines")
        .col(big_pk_auto("seq"))
        .col(big_integer("order_seq"))
        .col(integer("line_no"))
        .col(c.exact("sku", 64))
        .col(string_len("name", 200))
        .col(big_integer("quantity"))
        .col(big_integer("unit_price_minor"))
        .col(c.exact("currency", 3))
        .check(("order_lines_quantity", Expr::col("quantity").gt(0)))
        .check(("order_lines_price", Expr::col("unit_price_minor").gt(0)))
        .foreign_key(&mut belongs_to_order("order_lines"))
        .take()
}

fn payments(c: &Columns) -> TableCreateStatement {
    let refundable = Expr::col("refund_reserved").add(Expr::col("refunded")).lte(Expr::col("paid"));
    Table::create()
        .table("payments")
        .col(big_pk_auto("seq"))
        .col(c.exact("id", 30).unique_key())
        .col(big_integer("order_seq"))
        .col(c.exact("gateway", 16))
        .col(c.exact("product", 16))
        .col(c.exact("status", 12))
        .col(big_integer("amount_minor"))
        .col(c.exact("currency", 3))
        .col(json_binary("request"))
        .col(json_binary_null("action"))
        .col(c.at_null("action_expires_at"))
        // NULL, or the order's seq: at most one payment wins an order, whatever the code believes.
        .col(big_integer_null("winner_of").unique_key())
        .col(boolean("surplus"))
        .col(boolean("late"))
        .col(boolean("mismatch"))
        .col(boolean("closing"))
        .col(c.exact_null("gateway_transaction_id", 64))
        .col(c.exact_null("paid_currency", 3))
        .col(text_null("failure_reason"))
        .col(big_integer("paid"))
        .col(big_integer("refund_reserved"))
        .col(big_integer("refunded"))
        .col(c.at_null("refund_slot"))
        .col(c.at_null("asked_at"))
        .col(c.at("created_at"))
        .col(c.at("since"))
        .col(c.at_null("state_at"))
        .col(c.at_null("next_at"))
        .check(("payments_amount", Expr::col("amount_minor").gt(0)))
        .check((
            "payments_status",
            Expr::col("status").is_in(["CREATED", "UNKNOWN", "PENDING", "SUCCEEDED", "FAILED", "CLOSED"]),
        ))
        .check((
            "payments_counters",
            Expr::col("paid").gte(0).and(Expr::col("refund_reserved").gte(0)).and(Expr::col("refunded").gte(0)),
        ))
        .check(("payments_refundable", refundable))
        .check((
            "payments_winner",
            Expr::col("winner_of").is_null().or(Expr::col("winner_of").eq(Expr::col("order_seq"))),
        ))
        .check((
            "payments_evidence",
            Expr::col("status").ne("SUCCEEDED").or(Expr::col("gateway_transaction_id").is_not_null()),
        ))
        .foreign_key(&mut belongs_to_order("payments"))
        .take()
}

fn refunds(c: &Columns) -> TableCreateStatement {
    Table::create()
        .table("refunds")
        .col(big_pk_auto("seq"))
        .col(c.exact("id", 30).unique_key())
        .col(big_integer("order_seq"))
        .col(c.exact("payment_id", 30))
        .col(c.exact("status", 16))
        .col(big_integer("amount_minor"))
        .col(c.exact("currency", 3))
        .col(c.exact("reason", 20))
        .col(text_null("note"))
        .col(c.exact("requested_by", 255))
        .col(text_null("failure_reason"))
        .col(boolean("sent"))
        .col(c.at("created_at"))
        .col(c.at("since"))
        .col(c.at_null("state_at"))
        .col(c.at_null("next_at"))
        .check(("refunds_amount", Expr::col("amount_minor").gt(0)))
        .check((
            "refunds_status",
            Expr::col("status").is_in(["REQUESTED", "PROCESSING", "UNKNOWN", "SUCCEEDED", "FAILED"]),
        ))
        .foreign_key(&mut belongs_to_order("refunds"))
        .take()
}

fn events(c: &Columns) -> TableCreateStatement {
    Table::create()
        .table("events")
        .col(big_pk_auto("seq"))
        .col(big_integer("order_seq"))
        .col(big_integer("version"))
        .col(c.exact("type", 32))
        .col(json_binary("facts"))
        .col(c.exact("actor", 255))
        .col(c.at("at"))
        .foreign_key(&mut belongs_to_order("events"))
        .take()
}

fn notifications(c: &Columns) -> TableCreateStatement {
    Table::create()
        .table("notifications")
        .col(big_pk_auto("seq"))
        .col(c.exact("gateway", 16))
        .col(c.exact("notification_id", 128))
        .col(c.exact_null("number", 64))
        .col(json_binary("facts"))
        // APPLIED, NOT_OURS, UNKNOWN_NUMBER, IGNORED
        .col(c.exact("outcome", 16))
        .col(c.at("received_at"))
        .take()
}
