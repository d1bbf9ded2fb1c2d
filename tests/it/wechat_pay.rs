//! WeChat Pay, in the modes that the rest does not use: platform certificates, the standby host, bills.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::support::clock::TurnedClock;
use crate::support::wire::ON_THE_WAY;
use crate::support::{Backend, Shop, on_every_store};
use domain::{Date, Duration, Timestamp};
use futures_util::StreamExt;
use payonce::gateways::wechat_pay::{Config, FundAccount, FundFlow, WechatPay};
use payonce::payments::ports::{BillEntry, BillLine, BoxFuture, Clock, Gateway, GatewayPayment};
use sandbox::{Call, Fault, KeyMode, Sandbox, SandboxConfig};

on_every_store!(payments_go_on_while_one_certificate_takes_over_from_the_other);

/// The sandbox's side of the test's clock.
struct SameClock(Arc<TurnedClock>);

impl sandbox::Clock for SameClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep_until<'a>(&'a self, at: Timestamp) -> BoxFuture<'a, ()> {
        self.0.sleep_until(at)
    }
}

/// A gateway outside of Payonce, and the folder with what it gives a merchant.
struct Outside {
    sandbox: Sandbox,
    clock: Arc<TurnedClock>,
    folder: PathBuf,
}

impl Outside {
    async fn open(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("payonce_{name}_{}", Shop::key()));
        std::fs::create_dir_all(&folder).unwrap();
        let clock = Arc::new(TurnedClock::at_now());
        let same = Arc::new(SameClock(clock.clone()));
        let config = SandboxConfig { home: Some(folder.clone()), clock: same, ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).await.unwrap();
        Self { sandbox, clock, folder }
    }

    /// What a merchant in certificate mode configures.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let merchant = self.sandbox.merchant();
        let file = |name: &str| self.folder.join("wechat_pay").join(name).display().to_string();
        vec![
            ("PAYONCE_SANDBOX_LISTEN", "off".to_owned()),
            ("PAYONCE_WECHAT_PAY_BASE_URL", self.sandbox.url()),
            ("PAYONCE_WECHAT_PAY_MCHID", merchant.mchid.clone()),
            ("PAYONCE_WECHAT_PAY_APPID", merchant.appid.clone()),
            ("PAYONCE_WECHAT_PAY_SERIAL_NO", merchant.serial_no.clone()),
            ("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", file("merchant_private_key.pem")),
            ("PAYONCE_WECHAT_PAY_CERT_FILE", file("merchant_certificate.pem")),
            ("PAYONCE_WECHAT_PAY_API_V3_KEY", merchant.api_v3_key.clone()),
        ]
    }

    /// A shop that is configured so; the gateway becomes its sandbox.
    async fn shop(self, backend: Backend, more: &[(&'static str, String)]) -> Shop {
        let mut settings = self.settings();
        settings.extend_from_slice(more);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let mut shop = Shop::open_on(backend, backend.fresh().await, self.clock, &settings).await;
        assert!(shop.app.sandbox.replace(self.sandbox).is_none());
        shop
    }
}

fn downloads(shop: &Shop) -> usize {
    shop.sandbox().calls().iter().filter(|call| call.call == Call::Certificates).count()
}

async fn payments_go_on_while_one_certificate_takes_over_from_the_other(backend: Backend) {
    let outside = Outside::open("rotation").await;
    outside.sandbox.set_key_mode(KeyMode::FirstCertificate);
    let shop = outside.shop(backend, &[]).await;
    let (first, _) = shop.paid_order("TEA").await;
    assert_eq!(downloads(&shop), 1);
    // Announced, and not yet seen by us: the first one goes on to sign.
    shop.sandbox().set_key_mode(KeyMode::SecondAnnounced);
    let (_, opened) = shop.open_order("TEA").await;
    shop.advance(Duration::seconds(30)).await;
    // The second takes over: an answer under it makes us look, and counts.
    shop.sandbox().set_key_mode(KeyMode::SecondSigns);
    shop.paid_order("MUG").await;
    assert_eq!(downloads(&shop), 2);
    // What was opened before is paid now, and its notification comes under the second.
    shop.payer_pays(&opened).await;
    assert_eq!(shop.ledger().charges.len(), 3);
    // Notifications that were on their way come under the first; both count.
    shop.sandbox().set_key_mode(KeyMode::SecondAnnounced);
    shop.paid_order("PIN").await;
    let refund = shop.refund(&Shop::key(), &first, None).await;
    assert_eq!(refund.at("/refundOrder/refund/status"), "PROCESSING", "{}", refund.body);
    shop.advance(Duration::seconds(5)).await;
    assert_eq!(shop.order(&first).await["status"], "REFUNDED");
    assert_eq!(downloads(&shop), 2);
    shop.check_invariants().await;
}

/// The first notification after a start may come under a certificate that is not there yet.
#[tokio::test]
async fn a_notification_under_an_unknown_certificate_counts_when_it_is_repeated() {
    let outside = Outside::open("repeated").await;
    outside.sandbox.set_key_mode(KeyMode::FirstCertificate);
    let shop = outside.shop(Backend::Sqlite, &[]).await;
    let (order, payment) = shop.open_order("TEA").await;
    shop.clock.turn(Duration::seconds(31));
    shop.quiet().await;
    shop.sandbox().set_key_mode(KeyMode::SecondSigns);
    shop.payer_pays(&payment).await;
    assert_eq!(shop.order(&order).await["status"], "PAYING", "it is refused, for nobody vouches for it");
    shop.advance(Duration::seconds(15)).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
}

/// Without its certificates nothing of WeChat Pay is believed; they are asked for again.
#[tokio::test]
async fn certificates_in_doubt_are_no_certificates() {
    for kind in ON_THE_WAY {
        let outside = Outside::open("doubt").await;
        outside.sandbox.set_key_mode(KeyMode::FirstCertificate);
        outside.sandbox.fault(Fault::new(Call::Certificates, kind).unwrap());
        let shop = outside.shop(Backend::Sqlite, &[]).await;
        let (order, payment) = shop.open_order("TEA").await;
        for _ in 0..3 {
            shop.advance(Duration::seconds(20)).await;
        }
        assert!(shop.sandbox().faults_waiting().is_empty(), "{kind:?} did not happen");
        shop.payer_pays(&payment).await;
        shop.advance(Duration::seconds(20)).await;
        assert_eq!(shop.order(&order).await["status"], "PAID", "{kind:?}");
        assert_eq!(shop.ledger().charges.len(), 1);
        shop.check_invariants().await;
    }
}

#[tokio::test]
async fn a_merchant_with_both_keys_takes_answers_and_notifications_under_either() {
    let outside = Outside::open("both").await;
    let merchant = outside.sandbox.merchant().clone();
    let file = outside.folder.join("wechat_pay/platform_public_key.pem").display().to_string();
    let keys =
        [("PAYONCE_WECHAT_PAY_PUBLIC_KEY_ID", merchant.public_key_id), ("PAYONCE_WECHAT_PAY_PUBLIC_KEY_FILE", file)];
    let shop = outside.shop(Backend::Sqlite, &keys).await;
    shop.paid_order("TEA").await;
    assert_eq!(downloads(&shop), 0);
    // Answers come under the key that we ask for, notifications under the certificate.
    shop.sandbox().set_key_mode(KeyMode::FirstCertificate);
    let (order, payment) = shop.open_order("TEA").await;
    shop.payer_pays(&payment).await;
    shop.advance(Duration::seconds(15)).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.paid_order("MUG").await;
    assert_eq!(downloads(&shop), 1);
}

#[tokio::test]
async fn a_shop_whose_main_host_cannot_be_reached_sells_by_the_standby() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outside = Outside::open("standby").await;
    outside.sandbox.set_key_mode(KeyMode::SecondSigns);
    let hosts = [
        ("PAYONCE_WECHAT_PAY_BASE_URL", format!("http://{nobody}")),
        ("PAYONCE_WECHAT_PAY_STANDBY_URL", outside.sandbox.url()),
    ];
    let shop = outside.shop(Backend::Sqlite, &hosts).await;
    shop.paid_order("TEA").await;
    assert_eq!(shop.ledger().charges.len(), 1);
}

#[tokio::test]
async fn the_bill_says_what_the_ledger_says_and_a_transaction_is_found_by_its_number() {
    let outside = Outside::open("bill").await;
    let clock = outside.clock.clone();
    clock.turn(clock.now().date_naive().and_hms_opt(4, 0, 0).unwrap().and_utc() + Duration::days(1) - clock.now());
    let day: Date = clock.now().date_naive();
    outside.sandbox.set_key_mode(KeyMode::FirstCertificate);
    let merchant = outside.sandbox.merchant().clone();
    let config = Config {
        base_url: outside.sandbox.url(),
        standby_url: None,
        mchid: merchant.mchid,
        appid: merchant.appid,
        serial_no: merchant.serial_no,
        private_key_pem: merchant.private_key_pem.into(),
        certificate_pem: Some(merchant.certificate_pem),
        api_v3_key: merchant.api_v3_key.into(),
        platform_keys: Vec::new(),
        timeout: Config::TIMEOUT,
        wanted_key: None,
    };
    let connector = WechatPay::new(config, clock).unwrap();
    let shop = outside.shop(Backend::Sqlite, &[]).await;
    let (order, _) = shop.paid_order("MUG").await;
    for sku in ["TEA", "BOOK"] {
        shop.paid_order(sku).await;
    }
    shop.open_order("PIN").await;
    shop.refund(&Shop::key(), &order, Some(2_550)).await.at("/refundOrder");
    shop.advance(Duration::hours(22)).await;

    let lines: Vec<BillLine> = connector.bill(day).await.unwrap().map(Result::unwrap).collect().await;
    let ledger = shop.ledger();
    let mut charges: Vec<_> = ledger.charges.iter().map(|charge| (charge.number.clone(), charge.minor)).collect();
    let refunds: Vec<_> =
        ledger.refunds.iter().map(|r| (r.number.clone(), r.payment_number.clone(), r.minor)).collect();
    assert_eq!((charges.len(), refunds.len()), (3, 1));
    let of = |line: &BillLine| match &line.entry {
        BillEntry::Payment => Ok((line.payment.clone(), line.amount.minor)),
        BillEntry::Refund { number, done } => {
            assert!(*done);
            Err((number.clone(), line.payment.clone(), line.amount.minor))
        }
    };
    // All at the same moment: their order says nothing.
    let mut paid: Vec<_> = lines.iter().filter_map(|line| of(line).ok()).collect();
    paid.sort();
    charges.sort();
    assert_eq!(paid, charges);
    assert_eq!(lines.iter().filter_map(|line| of(line).err()).collect::<Vec<_>>(), refunds);

    let flows = connector.fund_flow(day, FundAccount::Basic).await.unwrap();
    let flows: Vec<FundFlow> = flows.map(Result::unwrap).collect().await;
    let sum = |income| flows.iter().filter(|flow| flow.income == income).map(|flow| flow.amount.minor).sum::<i64>();
    assert_eq!((sum(true), sum(false)), (charges.iter().map(|(_, minor)| minor).sum(), 2_550));
    assert_eq!(connector.fund_flow(day, FundAccount::Fees).await.unwrap().count().await, 0);

    let given_back = &ledger.refunds[0].payment_number;
    let kept = lines.iter().find(|line| line.entry == BillEntry::Payment && line.payment != *given_back).unwrap();
    let (number, found) = connector.find_transaction(&kept.transaction_id).await.unwrap().unwrap();
    assert_eq!(number, kept.payment);
    assert!(matches!(found, GatewayPayment::Paid(evidence) if evidence.amount == kept.amount));
    assert_eq!(connector.find_transaction("4200000000000000000000000000").await.unwrap(), None);
}

/// What is printed, and the exit status.
#[tokio::test]
async fn the_command_line_compares_a_day() {
    let outside = Outside::open("reconcile").await;
    outside.sandbox.set_key_mode(KeyMode::FirstCertificate);
    let url = Backend::Sqlite.fresh().await;
    let mut settings = outside.settings();
    settings.push(("PAYONCE_DATABASE_URL", url));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.args(arguments).env_clear().envs(settings.clone()).current_dir(&outside.folder);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    assert!(run(&["migrate"]).await.unwrap().status.success());
    let before = (outside.clock.now() - Duration::days(2)).date_naive().to_string();
    let quiet = run(&["reconcile", "--gateway", "wechat_pay", "--date", &before]).await.unwrap();
    let said = String::from_utf8(quiet.stdout).unwrap();
    assert_eq!(said, format!("wechat_pay {before}: 0 payments, 0 refunds; 0 differences settled, 0 left\n"));
    assert!(quiet.status.success());
    let early = (outside.clock.now() + Duration::days(1)).date_naive().to_string();
    let none = run(&["reconcile", "--gateway", "wechat_pay", "--date", &early]).await.unwrap();
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(!none.status.success() && said.contains("there is no bill of wechat_pay"), "{said}");
    for wrong in [["--gateway", "paypal", "--date", &before], ["--gateway", "alipay", "--date", &before]] {
        let mut arguments = vec!["reconcile"];
        arguments.extend(wrong);
        assert!(!run(&arguments).await.unwrap().status.success(), "{wrong:?}");
    }
}
