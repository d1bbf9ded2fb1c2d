//! Bills against a scripted provider: where they are fetched, and what ends them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;

use super::*;
use crate::payments::ports::BillLine;

const FILE: &str = "/v3/billdownload/file?token=abc";

fn day() -> Date {
    Date::from_ymd_opt(2025, 12, 31).unwrap()
}

/// A provider whose file is this answer, with this hash promised.
async fn with_file(hash: &str, file: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Provider {
    let place = json!({"hash_type": "SHA1", "hash_value": hash, "download_url": format!("https://evil.example{FILE}")});
    Provider::answers(move |target| {
        if target == FILE {
            return file();
        }
        let body = place.to_string();
        let mut response = plain(200, body.clone());
        response.headers_mut().extend(vectors::signed(body.as_bytes()));
        response
    })
    .await
}

fn vector(name: &str) -> (Vec<u8>, String) {
    let vector = &vectors::bill()[name];
    (STANDARD.decode(text(&vector["gzip_base64"])).unwrap(), text(&vector["sha1_of_raw"]).to_owned())
}

async fn lines(provider: &Provider) -> Vec<Result<BillLine, GatewayError>> {
    provider.connector().bill(day()).await.unwrap().collect().await
}

#[tokio::test]
async fn a_bill_is_fetched_where_we_are_configured_to_ask_and_read_line_by_line() {
    let (file, hash) = vector("tradebill_ALL");
    let provider = with_file(&hash, move || plain(200, file.clone())).await;
    let lines: Vec<BillLine> = lines(&provider).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].payment.as_str(), lines[1].amount.minor), ("T20251231000001", 40));
    let requests = provider.requests.lock().unwrap();
    let asked: Vec<String> = requests.iter().map(|(parts, _)| parts.uri.to_string()).collect();
    assert_eq!(asked, ["/v3/bill/tradebill?bill_date=2025-12-31&bill_type=ALL&tar_type=GZIP", FILE]);
    let signed: Vec<_> = requests.iter().map(|(parts, _)| parts.headers["authorization"].clone()).collect();
    assert_ne!(signed[0], signed[1], "each request has its own signature");
}

#[tokio::test]
async fn the_fund_flow_is_read_the_same_way() {
    let (file, hash) = vector("fundflow");
    let provider = with_file(&hash, move || plain(200, file.clone())).await;
    let flows = provider.connector().fund_flow(day(), FundAccount::Basic).await.unwrap();
    let flows: Vec<FundFlow> = flows.map(Result::unwrap).collect().await;
    assert_eq!(flows.iter().map(|flow| flow.amount.minor).collect::<Vec<_>>(), [100, 40]);
    let asked = provider.requests.lock().unwrap()[0].0.uri.to_string();
    assert_eq!(asked, "/v3/bill/fundflowbill?bill_date=2025-12-31&account_type=BASIC&tar_type=GZIP");
}

#[tokio::test]
async fn what_is_not_the_promised_file_ends_with_an_error_and_nothing_after_it() {
    let (file, hash) = vector("tradebill_ALL");
    let half = file[..file.len() / 2].to_vec();
    let whole = file.clone();
    for provider in [
        with_file(&hash.replace('7', "8"), move || plain(200, whole.clone())).await,
        with_file(&hash, move || plain(200, half.clone())).await,
        with_file(&hash, || plain(200, "<html>")).await,
    ] {
        let lines = lines(&provider).await;
        assert!(lines.last().unwrap().is_err() && lines.iter().filter(|line| line.is_err()).count() == 1);
    }
    for answer in [302, 403, 500] {
        let provider = with_file(&hash, move || plain(answer, "")).await;
        let outcome = provider.connector().bill(day()).await;
        assert!(matches!(outcome, Err(GatewayError::Unknown(_))), "{answer}");
    }
    let strange =
        Provider::signs(200, json!({"hash_type": "SHA1", "hash_value": "0", "download_url": "file:///x"})).await;
    assert!(matches!(strange.connector().bill(day()).await, Err(GatewayError::Unknown(_))));
    assert_eq!(strange.asked(), 1);
}

#[tokio::test]
async fn no_trades_are_an_empty_bill_and_one_that_is_not_ready_comes_later() {
    let nothing = Provider::refuses(400, "NO_STATEMENT_EXIST").await;
    assert!(lines(&nothing).await.is_empty());
    let creating = Provider::refuses(400, "STATEMENT_CREATING").await;
    assert!(matches!(creating.connector().bill(day()).await, Err(GatewayError::Later(_))));
    // The day of the vectors' clock, in Beijing: it is not over, so nobody is asked.
    let today = (vectors::now() + domain::Duration::hours(8)).date_naive();
    let outcome = nothing.connector().bill(today).await;
    assert!(matches!(outcome, Err(GatewayError::Later(_))));
    assert_eq!(nothing.asked(), 1);
}
