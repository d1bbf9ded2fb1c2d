//! What outlives the process, and what processes share.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use chrono::TimeDelta;
use sandbox::{Clock, SystemClock, keys::Keys};

use crate::shop::{Shop, start_sandbox};

/// A folder of its own for one test, removed afterwards.
pub struct Home(PathBuf);

impl Home {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test]
async fn after_a_restart_orders_refunds_and_undelivered_notifications_go_on() {
    let home = Home::new("restart");
    let mut shop = Shop::open_at(Some(home.path().to_owned())).await;
    shop.refusing.store(1, Ordering::SeqCst);
    shop.paid("ORDER-1", 100).await;
    let first = shop.notice().await.0["id"].clone();
    shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 100, 100)).await;
    shop.sandbox.settled().await;

    let restarted = {
        let next = start_sandbox(shop.clock.clone(), None).await;
        let old = std::mem::replace(&mut shop.sandbox, next);
        let merchant = old.merchant().clone();
        old.stop().await;
        let sandbox = start_sandbox(shop.clock.clone(), Some(home.path().to_owned())).await;
        assert_eq!(sandbox.merchant(), &merchant, "the keys are kept");
        sandbox
    };
    shop.sandbox = restarted;
    assert_eq!(shop.charges()[0], ("ORDER-1".to_owned(), 100));
    assert_eq!(shop.find_refund("REFUND-1").await.json()["status"], "PROCESSING");
    shop.clock.advance(TimeDelta::seconds(15));
    let mut events = [shop.notice().await.0, shop.notice().await.0];
    events.sort_by_key(|event| event["event_type"].to_string());
    assert_eq!(events[0]["event_type"], "REFUND.SUCCESS");
    assert_eq!(events[1]["id"], first, "the payment's notification, under its old id");
    assert_eq!(shop.sandbox.ledger().refunds.len(), 1);
}

#[test]
fn processes_that_start_at_once_share_one_set_of_keys() {
    let home = Home::new("keys");
    let made: Vec<_> = std::thread::scope(|scope| {
        let load = || Keys::load_or_create(home.path()).expect("keys").merchant();
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        starts.into_iter().map(|start| start.join().expect("no panic")).collect()
    });
    assert!(made.iter().all(|merchant| *merchant == made[0]));
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("a folder").collect();
    assert_eq!(left.len(), 2, "a folder for each gateway, and no drafts are left: {left:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for file in ["ids.json", "merchant_private_key.pem", "platform_private_key.pem"] {
            let path = home.path().join("wechat_pay").join(file);
            let mode = std::fs::metadata(path).expect(file).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
    assert!(!format!("{:?}", made[0]).contains("PRIVATE"));
}

#[tokio::test]
async fn the_machines_clock_waits_for_no_time_that_has_passed() {
    SystemClock.sleep_until(SystemClock.now() - TimeDelta::seconds(1)).await;
    let soon = SystemClock.now() + TimeDelta::milliseconds(20);
    SystemClock.sleep_until(soon).await;
    assert!(SystemClock.now() >= soon);
}
