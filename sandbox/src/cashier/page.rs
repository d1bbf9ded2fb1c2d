//! The cashier's HTML. It works without scripts; all text that is not ours is escaped.

use axum::{
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};

use super::{Bill, BillState};
use crate::keys::random_hex;

const STYLE: &str = include_str!("cashier.css");
const COUNTDOWN: &str = include_str!("countdown.js");
const SANDBOX: &str = "Sandbox cashier. This is a simulation: no money moves.";

/// A page and the policy that lets only its own style and script run.
pub(super) struct Page {
    html: String,
    nonce: String,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            self.nonce
        );
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (CONTENT_SECURITY_POLICY, policy),
            (CACHE_CONTROL, "no-store".to_owned()),
            (REFERRER_POLICY, "no-referrer".to_owned()),
        ];
        (headers, self.html).into_response()
    }
}

/// The page of an order as it stands at `now`.
pub(super) fn bill(bill: &Bill, now: DateTime<Utc>) -> Page {
    let (class, title, words) = match bill.state {
        BillState::Open => ("open", "Confirm your payment", ""),
        BillState::Declined => ("declined", "Payment declined", "Nothing was charged. You can try again."),
        BillState::Paid => ("paid", "Payment successful", "You can close this page and return to the shop."),
        BillState::Closed => ("closed", "Order closed", "The merchant closed this order. Nothing was charged."),
        BillState::Expired => ("expired", "Order expired", "The time to pay is over. Nothing was charged."),
    };
    let mark = match bill.state {
        BillState::Open => "",
        BillState::Paid => r#"<div class="mark" aria-hidden="true">&#10003;</div>"#,
        _ => r#"<div class="mark" aria-hidden="true">!</div>"#,
    };
    let words = if words.is_empty() { String::new() } else { format!(r#"<p class="words">{words}</p>"#) };
    let is_open = matches!(bill.state, BillState::Open | BillState::Declined);
    let actions = if is_open { actions(bill, now) } else { way_back(bill) };
    let content = format!(
        r#"{mark}<h1>{title}</h1>{words}
<p class="amount">{amount}</p>
<dl><div><dt>For</dt><dd>{description}</dd></div>
<div><dt>Order</dt><dd class="number">{number}</dd></div>
<div><dt>Pay with</dt><dd>{gateway}</dd></div></dl>
{actions}"#,
        amount = yuan(bill.minor),
        description = escaped(&bill.description),
        number = escaped(&bill.number),
        gateway = bill.gateway,
    );
    page(title, class, &content)
}

pub(super) fn unknown() -> Page {
    let content = r#"<div class="mark" aria-hidden="true">?</div><h1>No such order</h1>
<p class="words">Check the link, or go back to the shop and try again.</p>"#;
    page("No such order", "unknown", content)
}

/// The time left, counted down by the script, and the buttons: plain forms.
fn actions(bill: &Bill, now: DateTime<Utc>) -> String {
    let left_s = (bill.expires_at - now).num_seconds().max(0);
    let action = escaped(&super::path(&bill.number));
    format!(
        r#"<p class="left">Time left <time id="left" role="timer" data-left-s="{left_s}">{left}</time></p>
<form method="post" action="{action}/pay"><button class="pay" type="submit">Pay {amount}</button></form>
<form method="post" action="{action}/decline"><button class="decline" type="submit">Decline</button></form>"#,
        left = clock_time(left_s),
        amount = yuan(bill.minor),
    )
}

/// The link to the shop, if the shop asked for one.
fn way_back(bill: &Bill) -> String {
    let link = bill
        .return_url
        .as_deref()
        .map(|url| format!(r#"<a class="back" href="{}">Return to the shop</a>"#, escaped(url)));
    link.unwrap_or_default()
}

fn page(title: &str, class: &str, content: &str) -> Page {
    // Without randomness the page has no style and no script, and still works.
    let nonce = random_hex(16).unwrap_or_default();
    let html = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Cashier</title>
<style nonce="{nonce}">{STYLE}</style>
</head>
<body>
<main class="{class}" data-state="{class}">
{content}
</main>
<footer>{SANDBOX}</footer>
<script nonce="{nonce}">{COUNTDOWN}</script>
</body>
</html>
"#
    );
    Page { html, nonce }
}

/// `¥12.80`
fn yuan(fen: i64) -> String {
    format!("¥{}.{:02}", fen / 100, fen % 100)
}

/// `4:59`, `1:04:59` or `6 d 1:04:59`; the script writes it the same way.
fn clock_time(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days} d {hours}:{minutes:02}:{seconds:02}"),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_are_written_as_people_write_them() {
        assert_eq!(yuan(1280), "¥12.80");
        assert_eq!(yuan(1), "¥0.01");
        assert_eq!(yuan(123_456_700), "¥1234567.00");
        assert_eq!(clock_time(299), "4:59");
        assert_eq!(clock_time(3_905), "1:05:05");
        assert_eq!(clock_time(86_400), "1 d 0:00:00");
    }

    #[test]
    fn a_merchants_text_cannot_become_markup() {
        let hostile = Bill {
            number: "A|B-01".to_owned(),
            gateway: "WeChat Pay",
            description: r#"<script>alert("x")</script>'&"#.to_owned(),
            minor: 100,
            expires_at: DateTime::UNIX_EPOCH,
            state: BillState::Open,
            return_url: None,
        };
        let html = bill(&hostile, DateTime::UNIX_EPOCH).html;
        assert!(!html.contains("<script>alert"));
        assert!(html.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&amp;"));
        assert!(html.contains(r#"action="/cashier/A%7CB-01/pay""#));
    }
}
