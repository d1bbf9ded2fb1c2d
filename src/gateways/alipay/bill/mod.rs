//! A day's bill: asked for by a signed call, fetched from the address in the answer, spooled to a file without a
//! name, and read from there line by line.
//!
//! Source: Alipay's open platform, `alipay.data.dataservice.bill.downloadurl.query` and the layout of its files.
//! The file is neither signed nor always fetched over TLS. So the address must be Alipay's own, sizes have limits,
//! and what does not add up is an error.

use std::io::{self, Seek, Write};
use std::time::Duration;

use domain::{Date, Timestamp};
use futures_util::StreamExt;
use reqwest::{Response, Url};
use tokio::sync::mpsc;

use super::client::{Answer, Client};
use super::errors::Call;
use super::{beijing, unreadable, wire};
use crate::gateways::transport::sort;
use crate::payments::ports::{BillLine, BillStream, GatewayError, Refusal};

mod archive;
mod sheet;
#[cfg(test)]
mod tests;

use archive::Archive;
use sheet::Sheet;

/// Bills are there from about nine in the morning.
const ASKED_FROM_HOUR: i64 = 9;
/// From this hour on, "there is none" is not "not yet".
const COMPLETE_BY_HOUR: i64 = 12;
/// The longest file that is fetched, packed: some millions of lines.
const PACKED_LIMIT: u64 = 256 * 1024 * 1024;
/// Lines that wait for a slow reader.
const AHEAD: usize = 256;
/// Whose files we fetch, beside the gateway's own host.
const HOSTS: [&str; 3] = [".alipay.com", ".alipaydev.com", ".alipayobjects.com"];

/// The bill of this day of the account `seller_id`, asked for at `now`.
pub(super) async fn fetch(
    client: &Client,
    seller_id: &str,
    day: Date,
    now: Timestamp,
) -> Result<BillStream, GatewayError> {
    if now < beijing::next_day_at(day, ASKED_FROM_HOUR) {
        return Err(not_yet());
    }
    let deadline = client.deadline();
    let content = wire::WhichBill { bill_type: "trade", bill_date: day.to_string() };
    let address = match client.call(Call::Bill, None, &content, deadline).await? {
        Answer::Verified(answer) => address(&answer, &client.gateway).map_err(unreadable)?,
        Answer::Error(error) => error.nothing_there(Call::Bill).map(|()| None)?,
    };
    let Some(address) = address else {
        let complete = now >= beijing::next_day_at(day, COMPLETE_BY_HOUR);
        return if complete { Ok(futures_util::stream::empty().boxed()) } else { Err(not_yet()) };
    };
    let response = client.fetch(address, deadline).await?;
    let sheet = Sheet { day, seller_id: seller_id.to_owned() };
    Ok(lines(response, client.timeout, PACKED_LIMIT, sheet))
}

fn not_yet() -> GatewayError {
    let message = "the bill of a day comes on the next morning, from about 09:00 in Beijing".to_owned();
    GatewayError::Later(Refusal { code: "BILL_NOT_READY".to_owned(), message })
}

/// Where the file is. `None`: it would be empty.
fn address(answer: &str, gateway: &Url) -> Result<Option<Url>, &'static str> {
    let bill: wire::BillAddress = serde_json::from_str(answer).map_err(|_| "the answer is not a bill's address")?;
    if bill.bill_file_code.as_deref() == Some("EMPTY_DATA_WITH_BILL_FILE") {
        return Ok(None);
    }
    let url = bill.bill_download_url.ok_or("no bill_download_url")?;
    let url = Url::parse(&url).map_err(|_| "bill_download_url is not a URL")?;
    if is_ours_to_fetch(&url, gateway) { Ok(Some(url)) } else { Err("bill_download_url is not at Alipay") }
}

/// The gateway's own host and port, or a host of Alipay's at the port of its scheme.
fn is_ours_to_fetch(url: &Url, gateway: &Url) -> bool {
    let is_web = matches!(url.scheme(), "http" | "https");
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let is_gateways = url.origin() == gateway.origin();
    let is_alipays = url.domain().is_some_and(|host| HOSTS.iter().any(|end| host.ends_with(end)));
    is_gateways || (is_alipays && url.port().is_none())
}

/// What the reader of a file sends: a line, or that this was the last. Silence is neither.
type Told = Result<Option<BillLine>, GatewayError>;

/// Fetches and reads in the background, as fast as the stream is read. Dropping the stream ends it.
fn lines(response: Response, patience: Duration, limit: u64, sheet: Sheet) -> BillStream {
    let (tell, told) = mpsc::channel::<Told>(AHEAD);
    tokio::spawn(async move {
        let outcome = match spool(response, patience, limit, &tell).await {
            Ok(file) => {
                let teller = tell.clone();
                let reading = tokio::task::spawn_blocking(move || read(file, &sheet, &teller));
                reading
                    .await
                    .unwrap_or(Err("could not be read to its end"))
                    .map_err(|why| GatewayError::Unknown(format!("the bill {why}")))
            }
            Err(why) => Err(why),
        };
        // Nobody listens any more: nothing to say.
        let _ = tell.send(outcome.map(|()| None)).await;
    });
    let next = |told: Option<mpsc::Receiver<Told>>| async move {
        let mut told = told?;
        match told.recv().await {
            Some(Ok(Some(line))) => Some((Ok(line), Some(told))),
            Some(Ok(None)) => None,
            Some(Err(why)) => Some((Err(why), None)),
            None => Some((Err(GatewayError::Unknown("the bill broke off".to_owned())), None)),
        }
    };
    futures_util::stream::unfold(Some(told), next).boxed()
}

/// Writes the answer into a file that has no name and is gone when it is closed.
async fn spool(
    mut response: Response,
    patience: Duration,
    limit: u64,
    tell: &mpsc::Sender<Told>,
) -> Result<std::fs::File, GatewayError> {
    let on_disk = |why: io::Error| GatewayError::NotSent(format!("the bill cannot be spooled: {why}"));
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
    let mut file = file.unwrap_or_else(|why| Err(io::Error::other(why))).map_err(on_disk)?;
    let mut length = 0;
    loop {
        let chunk = tokio::select! {
            () = tell.closed() => return Err(GatewayError::Unknown("nobody reads the bill".to_owned())),
            chunk = tokio::time::timeout(patience, response.chunk()) => chunk,
        };
        let late = |_| GatewayError::Unknown(format!("the bill stood still for {} ms", patience.as_millis()));
        let Some(chunk) = chunk.map_err(late)?.map_err(|why| GatewayError::from(sort(why)))? else { break };
        length += chunk.len() as u64;
        if length > limit {
            return Err(GatewayError::Unknown(format!("the bill is longer than {limit} bytes")));
        }
        let written = tokio::task::spawn_blocking(move || file.write_all(&chunk).map(|()| file)).await;
        file = written.unwrap_or_else(|why| Err(io::Error::other(why))).map_err(on_disk)?;
    }
    file.rewind().map_err(on_disk)?;
    Ok(file)
}

/// Reads every list of trades in the file. The summary beside it is none.
fn read(file: std::fs::File, sheet: &Sheet, tell: &mpsc::Sender<Told>) -> Result<(), &'static str> {
    let archive = Archive::open(file).map_err(|why| why.0)?;
    let mut found = false;
    for member in 0..archive.len() {
        let content = archive.member(member).map_err(|why| why.0)?;
        found |= sheet.read(io::BufReader::new(content), |line| tell.blocking_send(Ok(Some(line))).is_ok())?;
    }
    if found { Ok(()) } else { Err("has no list of trades") }
}
