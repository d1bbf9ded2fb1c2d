//! What goes wrong with Alipay on request, and what outlives a restart.

use std::time::Duration;

use chrono::TimeDelta;
use sandbox::{Call, FaultKind};
use serde_json::json;

use crate::{alipay_shop::Shop, kept::Home, shop::start_sandbox};

#[tokio::test]
async fn an_answer_can_be_lost_or_an_error_before_or_after_the_effect() {
    let shop = Shop::open().await;
    for (kind, said, status) in [
        (FaultKind::Error500, "aop.ACQ.SYSTEM_ERROR", "ACQ.TRADE_NOT_EXIST"),
        (FaultKind::RateLimited, "isv.app-call-limited", "ACQ.TRADE_NOT_EXIST"),
        (FaultKind::Error500After, "aop.ACQ.SYSTEM_ERROR", "WAIT_BUYER_PAY"),
    ] {
        let number = format!("ORDER_{kind:?}");
        shop.fault(Call::Open, kind);
        assert_eq!(shop.precreate(&number, "1.00").await["sub_code"], said);
        shop.client.get(format!("{}/cashier/{number}", shop.sandbox.url())).send().await.expect("a page");
        assert_eq!(shop.status(&number).await, status, "{kind:?}");
    }
    shop.paid("ORDER_1", "1.00").await;
    let refund = json!({"out_trade_no": "ORDER_1", "out_request_no": "REFUND_1", "refund_amount": "1.00"});
    for (kind, moved) in [(FaultKind::LoseRequest, 0), (FaultKind::LoseAnswer, 1)] {
        shop.fault(Call::Refund, kind);
        assert!(shop.send(shop.signed("alipay.trade.refund", &refund, &[])).await.is_err());
        assert_eq!(shop.moved().1.len(), moved, "{kind:?}");
    }
    assert_eq!(shop.refund("REFUND_1", "ORDER_1", "1.00").await["fund_change"], "N");
}

#[tokio::test]
async fn answers_can_be_unsigned_wrongly_signed_late_or_anothers() {
    let shop = Shop::open().await;
    shop.scanned("ORDER_1", "1.00").await;
    let (query, content) = ("alipay.trade.query", json!({"out_trade_no": "ORDER_1"}));
    for kind in [FaultKind::Unsigned, FaultKind::WronglySigned, FaultKind::Signtest] {
        shop.fault(Call::Find, kind);
        let raw = shop.raw(query, &content).await;
        assert!(raw.contains("WAIT_BUYER_PAY") && shop.verified(query, &raw).is_none(), "{kind:?}");
        assert_eq!(raw.contains("\"sign\""), kind != FaultKind::Unsigned);
    }
    shop.fault(Call::Find, FaultKind::OtherAnswer);
    assert_eq!(shop.find("ORDER_1").await["out_trade_no"], "ORDER_0");
    shop.fault(Call::Close, FaultKind::DelayMs(60_000));
    let slow = tokio::time::timeout(Duration::from_millis(300), shop.close("ORDER_1")).await;
    assert!(slow.is_err(), "the answer is late");
    assert_eq!(shop.status("ORDER_1").await, "TRADE_CLOSED", "the effect is not");
}

#[tokio::test]
async fn the_payer_can_pay_during_a_close_and_refunds_can_fail() {
    let shop = Shop::open().await;
    shop.scanned("ORDER_1", "1.00").await;
    shop.fault(Call::Close, FaultKind::PayDuringClose);
    assert_eq!(shop.close("ORDER_1").await, "ACQ.TRADE_STATUS_ERROR");
    assert_eq!(shop.status("ORDER_1").await, "TRADE_SUCCESS");
    for (kind, said) in [
        (FaultKind::NotEnough, "ACQ.SELLER_BALANCE_NOT_ENOUGH"),
        (FaultKind::RefundAbnormal, "ACQ.TRADE_NOT_ALLOW_REFUND"),
        (FaultKind::RefundClosed, "N"),
    ] {
        shop.fault(Call::Refund, kind);
        let node = shop.refund("REFUND_1", "ORDER_1", "1.00").await;
        assert_eq!(node["fund_change"].as_str().or(node["sub_code"].as_str()), Some(said));
        assert_eq!(shop.find_refund("REFUND_1", "ORDER_1").await.get("refund_status"), None);
    }
    assert!(shop.moved().1.is_empty());
    assert_eq!(shop.refund("REFUND_1", "ORDER_1", "1.00").await["fund_change"], "Y");
    shop.scanned("ORDER_2", "1.00").await;
    shop.fault(Call::Close, FaultKind::PayDuringClose);
    assert_eq!(shop.cancel("ORDER_2").await["action"], "refund");
}

#[tokio::test]
async fn notifications_can_be_lost_doubled_unsigned_and_wrongly_signed() {
    let mut shop = Shop::open().await;
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.paid("ORDER_1", "1.00").await;
    shop.sandbox.settled().await;
    assert!(shop.notices.try_recv().is_err(), "lost");
    shop.clock.advance(TimeDelta::minutes(4));
    assert_eq!(shop.notice().await["out_trade_no"], "ORDER_1");
    shop.fault(Call::Notify, FaultKind::Duplicate);
    shop.paid("ORDER_2", "1.00").await;
    assert_eq!(shop.notice().await["notify_id"], shop.notice().await["notify_id"]);
    for (kind, number) in [(FaultKind::Unsigned, "ORDER_3"), (FaultKind::WronglySigned, "ORDER_4")] {
        shop.fault(Call::Notify, kind);
        shop.paid(number, "1.00").await;
        let notice = shop.raw_notice().await;
        assert!(notice["out_trade_no"] == number && !shop.is_genuine(&notice), "{kind:?}");
    }
}

#[tokio::test]
async fn trades_keys_and_notifications_outlive_a_restart() {
    let home = Home::new("alipay-restart");
    let mut shop = Shop::open_at(Some(home.path().to_owned())).await;
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.paid("ORDER_1", "1.00").await;
    shop.sandbox.settled().await;
    let trade = shop.find("ORDER_1").await;
    let other = start_sandbox(shop.clock.clone(), None).await;
    std::mem::replace(&mut shop.sandbox, other).stop().await;
    shop.sandbox = start_sandbox(shop.clock.clone(), Some(home.path().to_owned())).await;
    assert_eq!(shop.sandbox.merchant().alipay, shop.merchant, "the keys are kept");
    let by_trade_no = json!({"trade_no": trade["trade_no"], "out_trade_no": "ANOTHER"});
    assert_eq!(shop.ask("alipay.trade.query", by_trade_no).await, trade, "the gateway's number wins");
    shop.clock.advance(TimeDelta::minutes(4));
    assert_eq!(shop.notice().await["trade_no"], trade["trade_no"].as_str().expect("a number"));
}

#[tokio::test]
async fn slashes_can_be_escaped_and_a_second_node_come_behind_the_signed_one() {
    let shop = Shop::open().await;
    let content = json!({"out_trade_no": "ORDER_1", "total_amount": "1.00", "subject": "Tea"});
    let precreate = "alipay.trade.precreate";
    let plain = shop.raw(precreate, &content).await;
    shop.fault(Call::Open, FaultKind::EscapedSlashes);
    let escaped = shop.raw(precreate, &content).await;
    assert_eq!(escaped, plain.replace('/', r"\/"));
    assert!(plain.contains("http://") && shop.verified(precreate, &plain).is_some(), "signed without");

    shop.fault(Call::Open, FaultKind::DuplicateNode);
    let doubled = shop.raw(precreate, &content).await;
    assert!(doubled.starts_with(plain.trim_end_matches('}')), "{doubled}");
    assert_eq!(doubled.matches("alipay_trade_precreate_response").count(), 2);
}

#[tokio::test]
async fn a_refund_can_be_found_late_and_told_before_it_is_answered() {
    let mut shop = Shop::open().await;
    shop.paid("ORDER_1", "1.00").await;
    shop.notice().await;
    shop.fault(Call::Refund, FaultKind::LagMs(10_000));
    assert_eq!(shop.refund("REFUND_1", "ORDER_1", "0.40").await["fund_change"], "Y");
    assert_eq!(shop.find_refund("REFUND_1", "ORDER_1").await.get("refund_status"), None);
    shop.clock.advance(TimeDelta::seconds(10));
    assert_eq!(shop.find_refund("REFUND_1", "ORDER_1").await["refund_status"], "REFUND_SUCCESS");
    shop.notice().await;
    shop.fault(Call::Refund, FaultKind::NoticeFirst);
    shop.refund("REFUND_2", "ORDER_1", "0.40").await;
    let told = shop.notices.try_recv();
    assert!(told.is_ok(), "the answer came first");
}
