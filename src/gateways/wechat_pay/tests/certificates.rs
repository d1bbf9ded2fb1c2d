//! Platform certificates: when they are downloaded, and how seldom.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Duration, Timestamp};

use super::*;
use crate::payments::ports::BoxFuture;

const LIST: &str = "/v3/certificates";

/// Stands where it is put.
struct Turned(Mutex<Timestamp>);

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The provider, which signs with one of its keys, and a merchant who has none of them.
struct World {
    provider: Provider,
    clock: Arc<Turned>,
    connector: WechatPay,
    /// The list cannot be had now.
    down: Arc<AtomicBool>,
}

impl World {
    async fn with(key: &'static str, platform_keys: Vec<(String, String)>, down: bool) -> Self {
        let (clock, down) = (Arc::new(Turned(Mutex::new(vectors::now()))), Arc::new(AtomicBool::new(down)));
        let (time, broken) = (clock.clone(), down.clone());
        let provider = Provider::answers(move |target| {
            let (by, body) = match target {
                LIST if broken.load(Ordering::SeqCst) => return plain(500, ""),
                LIST => ("platform_cert_1", text(&vectors::certificates()["body"]).to_owned()),
                _ => (key, trade().to_string()),
            };
            let mut response = plain(200, body.clone());
            response.headers_mut().extend(vectors::signed_by(by, time.now(), body.as_bytes()));
            response
        })
        .await;
        let config = Config { platform_keys, ..vectors::config(&provider.url) };
        let connector = WechatPay::new(config, clock.clone()).unwrap();
        Self { provider, clock, connector, down }
    }

    async fn without_keys(key: &'static str) -> Self {
        Self::with(key, Vec::new(), false).await
    }

    async fn find(&self) -> Result<Option<GatewayPayment>, GatewayError> {
        self.connector.find(&vectors::payment()).await
    }

    fn turn(&self, by: Duration) {
        *self.clock.0.lock().unwrap() += by;
    }

    fn lists(&self) -> usize {
        self.provider.asked_for(LIST)
    }

    /// Waits until the list was asked for so often.
    async fn listed(&self, times: usize) {
        for _ in 0..1_000 {
            if self.lists() >= times {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("the list was asked for {} times, not {times}", self.lists());
    }
}

fn public_key() -> (String, String) {
    vectors::config("").platform_keys.remove(2)
}

#[tokio::test]
async fn without_a_key_the_certificates_are_downloaded_once_for_all_who_wait() {
    for key in ["platform_cert_1", "platform_cert_2"] {
        let world = World::without_keys(key).await;
        let (one, other) = tokio::join!(world.find(), world.find());
        assert_eq!((one.unwrap(), other.unwrap()), (Some(GatewayPayment::Open), Some(GatewayPayment::Open)), "{key}");
        world.find().await.unwrap();
        assert_eq!(world.lists(), 1);
    }
}

#[tokio::test]
async fn what_could_not_be_verified_is_not_sent() {
    let world = World::with("platform_cert_1", Vec::new(), true).await;
    let outcome = world.connector.open(&vectors::open_payment()).await;
    assert!(matches!(&outcome, Err(GatewayError::NotSent(why)) if why.contains("certificates")), "{outcome:?}");
    assert_eq!(world.provider.asked_for("/v3/pay"), 0);
    world.down.store(false, Ordering::SeqCst);
    world.turn(Duration::seconds(1));
    assert!(world.find().await.is_ok());
}

/// WeChat Pay moves a merchant from its certificates to its public key, or from one certificate to the next.
#[tokio::test]
async fn an_unknown_certificate_is_looked_for_once_and_the_same_answer_verified() {
    let world = World::with("platform_cert_2", vec![public_key()], false).await;
    assert_eq!(world.lists(), 0, "the public key is enough to begin with");
    assert_eq!(world.find().await.unwrap(), Some(GatewayPayment::Open));
    assert_eq!((world.lists(), world.provider.asked()), (1, 2));
    // The public key goes on to count.
    let body = b"{}";
    let headers = vectors::signed_by("wechatpay_public_key", vectors::now(), body);
    assert_eq!(reason(&world, &headers, body), "the body is not a notification");
}

fn reason(world: &World, headers: &HeaderMap, body: &[u8]) -> &'static str {
    match world.connector.read_notification(headers, body, world.clock.now()) {
        Err(NotificationError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ten_thousand_unknown_serials_cost_one_download() {
    let world = World::without_keys("platform_cert_1").await;
    world.find().await.unwrap();
    world.turn(Duration::seconds(30));
    let mut headers = vectors::signed_by("platform_cert_1", world.clock.now(), b"{}");
    for number in 0..10_000 {
        let serial = format!("{number:040}");
        headers.insert("wechatpay-serial", http::HeaderValue::from_str(&serial).unwrap());
        assert_eq!(reason(&world, &headers, b"{}"), "signed under a certificate that we do not know");
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    world.listed(2).await;
    // Everybody who was told to look has come to nothing by now: an answer waits for them all.
    world.find().await.unwrap();
    assert_eq!(world.lists(), 2);
    // What is no certificate's serial is not looked for.
    world.turn(Duration::seconds(30));
    let other = headers_named(&world, "PUB_KEY_ID_1");
    assert_eq!(reason(&world, &other, b"{}"), "signed with a key that is not configured");
    world.find().await.unwrap();
    assert_eq!(world.lists(), 2);
}

fn headers_named(world: &World, serial: &str) -> HeaderMap {
    let mut headers = vectors::signed_by("platform_cert_1", world.clock.now(), b"{}");
    headers.insert("wechatpay-serial", http::HeaderValue::from_str(serial).unwrap());
    headers
}

#[tokio::test]
async fn a_notification_under_a_new_certificate_is_taken_when_it_comes_again() {
    let world = World::with("platform_cert_1", vec![public_key()], false).await;
    let notification = vectors::notify()["good"][0].clone();
    let body = text(&notification["body"]).as_bytes();
    let headers = vectors::signed_by("platform_cert_2", world.clock.now(), body);
    assert_eq!(reason(&world, &headers, body), "signed under a certificate that we do not know");
    world.listed(1).await;
    let mut again = world.connector.read_notification(&headers, body, world.clock.now());
    for _ in 0..1_000 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        again = world.connector.read_notification(&headers, body, world.clock.now());
    }
    assert_eq!(again.unwrap().facts, notification["decrypted"]);
    assert_eq!(world.lists(), 1);
}

#[tokio::test]
async fn after_twelve_hours_the_list_is_looked_at_again_and_a_failure_takes_nothing_away() {
    let world = World::without_keys("platform_cert_1").await;
    world.find().await.unwrap();
    world.down.store(true, Ordering::SeqCst);
    world.turn(Duration::hours(12) - Duration::seconds(1));
    world.find().await.unwrap();
    assert_eq!(world.lists(), 1);
    world.turn(Duration::seconds(1));
    world.find().await.unwrap();
    world.listed(2).await;
    world.find().await.unwrap();
    // Not good, so it is tried again, but not at once.
    world.turn(Duration::seconds(30));
    world.find().await.unwrap();
    world.listed(3).await;
}

#[tokio::test]
async fn a_certificate_that_is_over_verifies_nothing() {
    let world = World::without_keys("platform_cert_1").await;
    world.find().await.unwrap();
    world.turn(Duration::days(366 * 30));
    let outcome = world.find().await;
    assert!(matches!(outcome, Err(GatewayError::NotSent(_))), "{outcome:?}");
}
