//! Bills over a real socket, and what is wrong with them on the way.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::{Currency, Money};
use encoding_rs::GBK;
use serde_json::{Value, json};

use super::*;
use crate::gateways::alipay::vectors::{self, answer, now, text};
use crate::gateways::alipay::{Alipay, Config};
use crate::payments::ports::{BillEntry, BoxFuture, Clock, Gateway};

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

fn hours(count: i64) -> domain::Duration {
    domain::Duration::hours(count)
}

fn new_years_eve() -> Date {
    Date::from_ymd_opt(2025, 12, 31).unwrap()
}

/// A gateway that names an address, and a file there.
struct Provider {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(node: Value, file: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let node = node.to_string().replace("HERE", &url);
        let gateway = async move |body: String| {
            assert!(body.contains("%22bill_type%22%3A%22trade%22%2C%22bill_date%22%3A%222025-12-31%22"), "{body}");
            count.fetch_add(1, Ordering::SeqCst);
            answer(Call::Bill.method(), &node)
        };
        let app = Router::new().route("/gateway.do", post(gateway)).route("/bill", get(async move || file()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, asked }
    }

    async fn with(file: impl Into<Vec<u8>>) -> Self {
        let file = file.into();
        Self::start(named(), move || Response::new(Body::from(file.clone()))).await
    }

    fn connector(&self, at: Timestamp) -> Alipay {
        let config = vectors::config(&format!("{}/gateway.do", self.url));
        let config = Config { timeout: Duration::from_millis(2_000), ..config };
        Alipay::new(config, Arc::new(At(at))).unwrap()
    }

    /// The whole bill, or the error that ended it and how many lines came before.
    async fn bill(&self) -> Result<Vec<BillLine>, (usize, String)> {
        let bill = self.connector(now() + hours(2)).bill(new_years_eve()).await.map_err(|why| (0, unknown(why)))?;
        let mut lines = Vec::new();
        let mut all = bill;
        while let Some(line) = all.next().await {
            match line {
                Ok(line) => lines.push(line),
                Err(why) => {
                    assert!(all.next().await.is_none(), "an error is the end");
                    return Err((lines.len(), unknown(why)));
                }
            }
        }
        Ok(lines)
    }

    /// Why the bill cannot be read.
    async fn why(&self) -> String {
        self.bill().await.unwrap_err().1
    }
}

fn named() -> Value {
    json!({"code": "10000", "msg": "Success", "bill_download_url": "HERE/bill"})
}

fn refused(sub_code: &str) -> Value {
    json!({"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "不"})
}

fn unknown(why: GatewayError) -> String {
    match why {
        GatewayError::Unknown(why) => why,
        other => panic!("{other:?}"),
    }
}

fn entries() -> Vec<(String, String)> {
    let entries = vectors::bill()["entries"].clone();
    entries.as_object().unwrap().iter().map(|(name, content)| (name.clone(), text(content).to_owned())).collect()
}

/// The list of trades of the vectors.
fn list() -> String {
    entries().into_iter().find(|(name, _)| name.ends_with("业务明细.csv")).unwrap().1
}

/// Packs contents as Alipay does.
fn zip(contents: &[&[u8]]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for content in contents {
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(content).unwrap();
        let packed = packer.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        for number in [crc.sum(), packed.len() as u32, content.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend([1, 0, 0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.push(b'x');
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.push(b'x');
        file.extend(packed);
    }
    let (at, count) = (file.len() as u32, contents.len() as u16);
    let length = directory.len() as u32;
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend([length.to_le_bytes(), at.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}

fn gbk(text: &str) -> Vec<u8> {
    GBK.encode(text).0.into_owned()
}

fn forty_of_a_hundred() -> Vec<BillLine> {
    let line = |entry, minor, hour: i64, second: i64| BillLine {
        payment: "T20251231000001".to_owned(),
        transaction_id: "2025123122001470780000000001".to_owned(),
        entry,
        amount: Money::new(minor, Currency::CNY),
        at: now() - hours(22) + hours(hour) + domain::Duration::seconds(second),
    };
    let refund = BillEntry::Refund { number: "RF-1".to_owned(), done: true };
    vec![line(BillEntry::Payment, 10_000, 0, 5), line(refund, 4_000, 1, 0)]
}

#[tokio::test]
async fn the_bill_of_the_vectors_is_read() {
    let packed = BASE64_STANDARD.decode(text(&vectors::bill()["zip_base64"])).unwrap();
    assert_eq!(Provider::with(packed).await.bill().await.unwrap(), forty_of_a_hundred());
    assert_eq!(entries().len(), 2);
    // Its summary is no list of trades, whatever comes first.
    let mut contents: Vec<Vec<u8>> = entries().iter().map(|(_, content)| gbk(content)).collect();
    for _ in 0..2 {
        contents.reverse();
        let packed = zip(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(Provider::with(packed).await.bill().await.unwrap(), forty_of_a_hundred());
    }
    let without = list().lines().filter(|line| !line.starts_with("2025")).collect::<Vec<_>>().join("\r\n");
    let without = without.replace("1笔", "0笔").replace("100.00", "0.00").replace("40.00", "0.00");
    assert_eq!(Provider::with(zip(&[&gbk(&without)])).await.bill().await.unwrap(), []);
}

#[tokio::test]
async fn a_bill_is_asked_for_when_it_can_be_there_and_its_absence_is_believed_later() {
    let none = || async { Provider::start(refused("BILL_NOT_EXIST"), || Response::new(Body::empty())).await };
    for (hours_past_midnight, asked, later) in
        [(-1, 0, true), (8, 0, true), (9, 1, true), (11, 1, true), (12, 1, false)]
    {
        let provider = none().await;
        let bill = provider.connector(now() + hours(hours_past_midnight - 8)).bill(new_years_eve()).await;
        assert_eq!(provider.asked.load(Ordering::SeqCst), asked, "{hours_past_midnight}");
        match bill {
            Err(GatewayError::Later(refusal)) if later => assert_eq!(refusal.code, "BILL_NOT_READY"),
            Ok(mut lines) if !later => assert!(lines.next().await.is_none()),
            other => panic!("{hours_past_midnight}: {:?}", other.map(|_| ())),
        }
    }
    let bill = |node| async {
        let provider = Provider::start(node, || panic!("nothing is fetched")).await;
        provider.connector(now() + hours(24)).bill(new_years_eve()).await
    };
    let empty =
        json!({"code": "10000", "bill_file_code": "EMPTY_DATA_WITH_BILL_FILE", "bill_download_url": "HERE/bill"});
    for node in [refused("NO_BILL_DATA"), empty] {
        assert!(bill(node).await.unwrap().next().await.is_none());
    }
    for code in ["SYSTEM_RATE_LIMIT", "USER_RATE_LIMIT"] {
        assert!(matches!(bill(refused(code)).await, Err(GatewayError::Later(refusal)) if refusal.code == code));
    }
    for code in ["INVAILID_ARGUMENTS", "TYPE_NOT_SUPPORTED", "BILL_DATE_BEFORE_REGISTRATION"] {
        assert!(matches!(bill(refused(code)).await, Err(GatewayError::Refused(refusal)) if refusal.code == code));
    }
    assert_eq!(unknown(bill(refused("ACQ.SYSTEM_ERROR")).await.err().unwrap()), "40004 ACQ.SYSTEM_ERROR");
    let nowhere = json!({"code": "10000", "msg": "Success"});
    assert_eq!(unknown(bill(nowhere).await.err().unwrap()), "verified, but no bill_download_url");
    let elsewhere = json!({"code": "10000", "bill_download_url": "http://169.254.169.254/latest"});
    assert_eq!(unknown(bill(elsewhere).await.err().unwrap()), "verified, but bill_download_url is not at Alipay");
}

#[test]
fn only_alipays_hosts_and_the_gateways_own_are_fetched_from() {
    let fits = |url: &str| {
        is_ours_to_fetch(&Url::parse(url).unwrap(), &Url::parse("http://10.0.0.7:8090/gateway.do").unwrap())
    };
    for url in [
        "http://dwbillcenter.alipay.com/downloadBillFile.resource?a=1",
        "https://dwbillcenter.alipay.com:443/x",
        "http://x.alipaydev.com/",
        "https://x.y.alipayobjects.com/",
        "http://10.0.0.7:8090/anything",
    ] {
        assert!(fits(url), "{url}");
    }
    for url in [
        "http://dwbillcenter.alipay.com:8080/",
        "http://alipay.com.evil.example/",
        "http://evilalipay.com/",
        "http://alipay.com@evil.example/",
        "http://me@dwbillcenter.alipay.com/",
        "ftp://dwbillcenter.alipay.com/",
        "file:///etc/passwd",
        "http://10.0.0.7:8091/",
        "https://10.0.0.7:8090/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://localhost/",
    ] {
        assert!(!fits(url), "{url}");
    }
}

#[tokio::test]
async fn what_is_no_bill_is_unknown() {
    let answered = |status: u16| async move {
        let reply = move || Response::builder().status(status).header("location", "/gateway.do").body(Body::empty());
        Provider::start(named(), move || reply().unwrap()).await.why().await
    };
    for status in [301, 302, 307, 403, 404, 500] {
        assert!(answered(status).await.ends_with("is no file"), "{status}");
    }
    assert_eq!(Provider::with("<html>expired</html>").await.why().await, "the bill is no ZIP file");
    assert_eq!(Provider::with("").await.why().await, "the bill is no ZIP file");
    let silent = Provider::start(named(), || {
        Response::new(Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, io::Error>>()))
    });
    assert_eq!(silent.await.why().await, "the bill stood still for 2000 ms");
    let broken = Provider::start(named(), || {
        let parts = [Ok(bytes::Bytes::from_static(b"PK")), Err(io::Error::other("cut"))];
        Response::new(Body::from_stream(futures_util::stream::iter(parts)))
    });
    assert!(!broken.await.why().await.starts_with("the bill"), "a connection that broke off");
    // Nothing is unpacked on the way: what is in there is not a ZIP file.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; 1 << 20]).unwrap();
    let bomb = packer.finish().unwrap();
    let provider = Provider::start(named(), move || {
        Response::builder().header("content-encoding", "gzip").body(Body::from(bomb.clone())).unwrap()
    });
    assert_eq!(provider.await.why().await, "the bill is no ZIP file");
}

#[tokio::test]
async fn a_file_that_does_not_end_is_not_spooled_to_its_end() {
    let endless = || {
        let more = futures_util::stream::repeat_with(|| Ok::<_, io::Error>(bytes::Bytes::from_static(&[0; 4096])));
        Response::new(Body::from_stream(more))
    };
    let provider = Provider::start(named(), endless).await;
    let response = reqwest::get(format!("{}/bill", provider.url)).await.unwrap();
    let sheet = Sheet { day: new_years_eve(), seller_id: String::new() };
    let mut bill = lines(response, Duration::from_secs(2), 100_000, sheet);
    let why = bill.next().await.unwrap().unwrap_err();
    assert_eq!(unknown(why), "the bill is longer than 100000 bytes");
    assert!(bill.next().await.is_none());
}

#[tokio::test]
async fn a_damaged_archive_is_unknown() {
    let good = zip(&[&gbk(&list())]);
    let end = good.len() - 22;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = good.clone();
        change(&mut file);
        file
    };
    let directory = u32::from_le_bytes(good[end + 16..end + 20].try_into().unwrap()) as usize;
    for (file, why) in [
        (good[..end].to_vec(), "is no ZIP file"),
        (changed(&|f| f[end + 8..end + 12].fill(17)), "is a ZIP file of many parts"),
        (changed(&|f| f[end + 8..end + 12].fill(0xff)), "is a ZIP file of many parts"),
        (changed(&|f| f[end + 10] = 2), "is a ZIP file of many parts"),
        (changed(&|f| f[end + 12..end + 16].fill(0xff)), "is a ZIP file of many parts"),
        (changed(&|f| f[end + 16..end + 20].fill(0xff)), "is a ZIP file that breaks off"),
        (changed(&|f| f[directory] = b'Q'), "is a damaged ZIP file"),
        (changed(&|f| f[directory + 28] = 0xff), "is a damaged ZIP file"),
        (changed(&|f| f[directory + 8] = 1), "is a ZIP file of a kind that bills are not"),
        (changed(&|f| f[directory + 10] = 12), "is a ZIP file of a kind that bills are not"),
        (changed(&|f| f[directory + 16] ^= 1), "is a damaged ZIP file"),
        (changed(&|f| f[directory + 20] = 9), "is a damaged ZIP file"),
        (changed(&|f| f[directory + 26] = 1), "is a damaged ZIP file"),
        (changed(&|f| f[directory + 27] = 1), "unpacks to too much"),
        (changed(&|f| f[0] = b'Q'), "is a damaged ZIP file"),
        (changed(&|f| f[60] ^= 0x55), "is a damaged ZIP file"),
        (zip(&[]), "has no list of trades"),
        (zip(&[b"a,b\r\n1,2\r\n"]), "has no list of trades"),
        (zip(&[&[0; 8_000_000]]), "unpacks to too much"),
    ] {
        let (_, said) = Provider::with(file).await.bill().await.unwrap_err();
        assert_eq!(said, format!("the bill {why}"));
    }
}

#[tokio::test]
async fn a_list_that_does_not_add_up_is_not_the_whole_bill() {
    let end = list().find("#-----------------------------------------业务明细列表结束").unwrap();
    let payment = list().lines().find(|line| line.contains("交易\t")).unwrap().to_owned();
    for (content, lines, why) in [
        (list().replace("交易合计：1笔", "交易合计：2笔"), 2, "does not come to its own sums"),
        (list().replace("共100.00元", "共100.01元"), 2, "does not come to its own sums"),
        (list().replace("共-40.00元", "共-40.01元"), 2, "does not come to its own sums"),
        (list().replace(&format!("{payment}\r\n"), ""), 1, "does not come to its own sums"),
        (list().replace("#退款合计", "#"), 2, "breaks off"),
        (list()[..end].to_owned(), 2, "breaks off"),
        (list().replace("[2025年12月31日", "[2025年12月30日"), 0, "is another day's"),
        (list().replace("[2088000000000001", "[2088000000000002"), 0, "is another account's"),
        (list().replace(",退款\t", ",转账\t"), 1, "has an entry of an unknown kind"),
        (list().replace(",-40.00,-40.00,", ",0.00,-40.00,"), 1, "has an entry without money"),
        (list().replace(",100.00,100.00,", ",-100.00,100.00,"), 0, "has an entry without money"),
        (list().replace(",100.00,100.00,", ",1e2,100.00,"), 0, "has an amount that is none"),
        (list().replace("10:00:05", "10:00"), 0, "has a moment that is none"),
        (list().replace("T20251231000001\t,交易", "\t,交易"), 0, "has a number that is none"),
        (list().replace(",大乐透2.1,", ","), 0, "has a row with too few cells"),
        (list().replace("大乐透2.1", &"x".repeat(20_000)), 0, "has a line of more than 16 KiB"),
        (
            list().replace(
                "大乐透2.1",
                "a,b,2025-12-31 10:00:00,2025-12-31 10:00:05,\t,\t,\t,\t,*三,1.00,1.00,0,0,0,0,0,,0",
            ),
            0,
            "has a row that reads in no way, or in two",
        ),
    ] {
        let (read, said) = Provider::with(zip(&[&gbk(&content)])).await.bill().await.unwrap_err();
        assert_eq!((read, said.as_str()), (lines, format!("the bill {why}").as_str()));
    }
}

#[tokio::test]
async fn commas_tabs_halves_of_characters_and_other_columns_are_read_around() {
    let spoilt = {
        let mut bytes = gbk(&list());
        let at = bytes.windows(3).position(|three| three == b"2.1").unwrap();
        bytes[at] = 0xb4; // the first half of a character, before the full stop
        bytes
    };
    let order: Vec<String> = list()
        .lines()
        .map(|line| match line.starts_with('#') {
            true => line.to_owned(),
            // A column in front and one at the end, as aggregated merchants get them.
            false if line.starts_with("支付宝交易号") => format!("序号,{line},收单机构"),
            false => format!("7,{line},x"),
        })
        .collect();
    for content in [
        gbk(&list().replace("大乐透2.1", "A, B,C")),
        gbk(&list().replace("大乐透2.1", "1.00,2025-12-31 10:00:00,")),
        gbk(&list().replace("正常退款", "退,款")),
        gbk(&list().replace("大乐透2.1", "a,b").replace("正常退款", "c,d,e")),
        gbk(&list().replace('\t', "")),
        gbk(&order.join("\r\n")),
        gbk(&list().replace("\r\n", "\n")),
        spoilt,
    ] {
        let shown = GBK.decode(&content).0.into_owned();
        let lines = Provider::with(zip(&[&content])).await.bill().await;
        assert_eq!(lines.unwrap_or_else(|why| panic!("{why:?} {shown}")), forty_of_a_hundred(), "{shown}");
    }
    // A refund without a number of its own: all of its payment.
    let lines = Provider::with(zip(&[&gbk(&list().replace("RF-1", ""))])).await.bill().await.unwrap();
    assert_eq!(lines[1].entry, BillEntry::Refund { number: "T20251231000001".to_owned(), done: true });
}

#[tokio::test]
async fn a_long_bill_is_read_line_by_line_and_may_be_left() {
    let payment = list().lines().find(|line| line.contains("交易\t")).unwrap().to_owned() + "\r\n";
    let many = list()
        .replace(&payment, &payment.repeat(20_000))
        .replace("交易合计：1笔，商家实收共100.00元", "交易合计：20000笔，商家实收共2000000.00元");
    let provider = Provider::with(zip(&[&gbk(&many)])).await;
    assert_eq!(provider.bill().await.unwrap().len(), 20_001);
    let mut bill = provider.connector(now() + hours(2)).bill(new_years_eve()).await.unwrap();
    assert!(bill.next().await.unwrap().is_ok());
    drop(bill);
}
