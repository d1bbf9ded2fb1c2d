//! The bills of a day: asked for, downloaded, unpacked and read line by line.
//!
//! Source: WeChat Pay API v3, "trade bill", "fund flow bill", "download bill", and the bill fixtures of the
//! official PHP SDK. The answer that says where the file is and what its hash must be is signed; the file is not,
//! so its hash is checked when it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::Date;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::{Response, Url};

use super::client::{Answer, Client};
use super::errors::Call;
use super::translate::Account;
use super::wire;
use crate::payments::ports::{BillStream, GatewayError, Refusal};

mod file;
mod fund_flow;
mod sheet;
mod trade;

use file::File;
pub use fund_flow::{FundAccount, FundFlow, FundFlowStream};
use sheet::Sheet;

/// The one place where files are. The answer names a host as well: we ask the one that is configured, whatever
/// it names, and nobody can send us elsewhere.
const DOWNLOAD_PATH: &str = "/v3/billdownload/file";

/// What was paid and refunded on a day.
pub(super) async fn trade(client: &Arc<Client>, account: &Account, day: Date) -> Result<BillStream, GatewayError> {
    let target = format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP");
    lines(client, day, &target, trade::TradeSheet::new(&account.mchid)).await
}

/// How money moved on a day.
pub(super) async fn fund_flow(
    client: &Arc<Client>,
    day: Date,
    account: FundAccount,
) -> Result<FundFlowStream, GatewayError> {
    let target = format!("/v3/bill/fundflowbill?bill_date={day}&account_type={}&tar_type=GZIP", account.name());
    lines(client, day, &target, fund_flow::FundFlowSheet::default()).await
}

async fn lines<S: Sheet>(
    client: &Arc<Client>,
    day: Date,
    target: &str,
    sheet: S,
) -> Result<BoxStream<'static, Result<S::Line, GatewayError>>, GatewayError> {
    let today = (client.clock.now() + domain::Duration::hours(8)).date_naive();
    if day >= today {
        let message = format!("the day {day} is not over; its bill is there the next day from ten o'clock on");
        return Err(GatewayError::Later(Refusal { code: "STATEMENT_CREATING".to_owned(), message }));
    }
    let file = match client.get(target).await? {
        Answer::Verified(answer) => answer,
        Answer::Error(error) => {
            // No trades that day: there is no file either.
            error.nothing_there(Call::Bill)?;
            return Ok(stream::empty().boxed());
        }
    };
    let unreadable = |why: &str| GatewayError::Unknown(format!("verified, but {why}"));
    let file: wire::BillFile = serde_json::from_slice(&file).map_err(|_| unreadable("the answer is not a bill"))?;
    if file.hash_type != "SHA1" {
        return Err(unreadable("the hash is not SHA1"));
    }
    let target = download_target(&file.download_url).ok_or_else(|| unreadable("the file is at an unknown place"))?;
    let download = Download {
        response: client.download(&target).await?,
        file: Some(File::new(&file.hash_value, sheet)),
        lines: VecDeque::new(),
        patience: client.timeout,
    };
    Ok(stream::try_unfold(download, Download::next).boxed())
}

/// Path and query of the address, if it is one of bills.
fn download_target(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let query = url.query().filter(|query| query.starts_with("token="))?;
    url.path().ends_with(DOWNLOAD_PATH).then(|| format!("{DOWNLOAD_PATH}?{query}"))
}

/// A file on its way, and the lines that have come.
struct Download<S: Sheet> {
    response: Response,
    /// `None`: it has ended well.
    file: Option<File<S>>,
    lines: VecDeque<S::Line>,
    /// How long the next part may take.
    patience: Duration,
}

impl<S: Sheet> Download<S> {
    async fn next(mut self) -> Result<Option<(S::Line, Self)>, GatewayError> {
        let broken = |why: &dyn std::fmt::Display| GatewayError::Unknown(format!("the bill broke off: {why}"));
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some((line, self)));
            }
            let Some(mut file) = self.file.take() else { return Ok(None) };
            let part = tokio::time::timeout(self.patience, self.response.chunk()).await;
            let part = part.map_err(|_| broken(&"no more of it came"))?.map_err(|why| broken(&why.without_url()))?;
            match part {
                Some(bytes) => {
                    file.take(&bytes, &mut self.lines).map_err(|why| broken(&why))?;
                    self.file = Some(file);
                }
                None => file.end(&mut self.lines).map_err(|why| broken(&why))?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_fetched_from_the_configured_host_alone() {
        let target = Some("/v3/billdownload/file?token=abc%2B1".to_owned());
        for url in [
            "https://api.mch.weixin.qq.com/v3/billdownload/file?token=abc%2B1",
            "http://127.0.0.1:1/wechat/v3/billdownload/file?token=abc%2B1",
            "https://evil.example/v3/billdownload/file?token=abc%2B1",
        ] {
            assert_eq!(download_target(url), target, "{url}");
        }
        for url in [
            "https://api.mch.weixin.qq.com/v3/billdownload/file",
            "https://api.mch.weixin.qq.com/v3/refund/domestic/refunds?token=abc",
            "https://api.mch.weixin.qq.com/v3/billdownload/file/../../pay?token=abc",
            "/v3/billdownload/file?token=abc",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(download_target(url), None, "{url}");
        }
    }
}
