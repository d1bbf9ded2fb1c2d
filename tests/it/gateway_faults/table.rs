//! What is expected of each fault: where the money's object stands right after the call, and a minute later.
//!
//! A dash: that gateway cannot have it. `× 3`: three times, for questions that break off are asked again at once.
//! `after 2`: it took more than one question until then; of refunds, it was sent so often.

use std::fmt;

use super::acts::Gateway;

/// One call that goes wrong.
pub struct Row {
    pub call: &'static str,
    pub fault: String,
    pub ms: Option<u64>,
    pub times: u32,
    pub right_after: String,
    pub later: String,
}

impl Row {
    pub fn is_slow(&self) -> bool {
        self.fault == "slow_drip" || (self.fault == "delay_ms" && self.call != "notify")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} × {}", self.call, self.fault, self.times)
    }
}

/// The rows of a call that this gateway can have.
pub fn rows(call: &str, gateway: Gateway) -> Vec<Row> {
    let tables = TABLE.iter().filter(|(of, _)| *of == call);
    tables.flat_map(|(call, table)| table.lines().skip(2).filter_map(|line| row(call, gateway, line))).collect()
}

fn row(call: &'static str, gateway: Gateway, line: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    let [fault, at_wechat_pay, at_alipay] = columns[..] else { panic!("a row has three columns: {line:?}") };
    let expected = match gateway {
        Gateway::WechatPay => at_wechat_pay,
        Gateway::Alipay => at_alipay,
    };
    let (right_after, later) = expected.split_once(" → ").filter(|_| expected != "–")?;
    let (fault, times) = fault.split_once(" × ").map_or((fault, 1), |(fault, times)| (fault, times.parse().unwrap()));
    let (fault, ms) = fault.split_once(' ').map_or((fault, None), |(fault, ms)| (fault, Some(ms.parse().unwrap())));
    let [fault, right_after, later] = [fault, right_after, later].map(str::to_owned);
    Some(Row { call, fault, ms, times, right_after, later })
}

pub const TABLE: [(&str, &str); 6] = [
    ("open", OPEN),
    ("find", FIND),
    ("close", CLOSE),
    ("refund", REFUND),
    ("find_refund", FIND_REFUND),
    ("notify", NOTIFY),
];

/// An order is placed with a payment. The payment; and in the end it is paid, once. WeChat Pay's answer names no
/// number, so nobody can see that its code leads elsewhere.
const OPEN: &str = "
    the opening           at WeChat Pay                at Alipay
    lose_request          UNKNOWN → PENDING            UNKNOWN → PENDING
    lose_answer           UNKNOWN → PENDING            UNKNOWN → PENDING
    reset_request         UNKNOWN → PENDING            UNKNOWN → PENDING
    reset_answer          UNKNOWN → PENDING            UNKNOWN → PENDING
    reset_mid_body        UNKNOWN → PENDING            UNKNOWN → PENDING
    error_500             UNKNOWN → PENDING            UNKNOWN → PENDING
    error_502             UNKNOWN → PENDING            UNKNOWN → PENDING
    error_503             UNKNOWN → PENDING            UNKNOWN → PENDING
    error_504             UNKNOWN → PENDING            UNKNOWN → PENDING
    error_500_after       UNKNOWN → PENDING            UNKNOWN → PENDING
    error_502_after       UNKNOWN → PENDING            UNKNOWN → PENDING
    error_503_after       UNKNOWN → PENDING            UNKNOWN → PENDING
    error_504_after       UNKNOWN → PENDING            UNKNOWN → PENDING
    rate_limited          CREATED → PENDING            CREATED → PENDING
    redirect              UNKNOWN → PENDING            UNKNOWN → PENDING
    delay_ms 9000         UNKNOWN → PENDING            UNKNOWN → PENDING
    slow_drip             UNKNOWN → PENDING            UNKNOWN → PENDING
    empty                 UNKNOWN → PENDING            UNKNOWN → PENDING
    huge                  UNKNOWN → PENDING            UNKNOWN → PENDING
    gzip_bomb             UNKNOWN → PENDING            UNKNOWN → PENDING
    unsigned              UNKNOWN → PENDING            UNKNOWN → PENDING
    wrongly_signed        UNKNOWN → PENDING            UNKNOWN → PENDING
    signtest              UNKNOWN → PENDING            UNKNOWN → PENDING
    other_answer          PENDING elsewhere → PENDING  UNKNOWN → PENDING
    wrong_number          –                            UNKNOWN → PENDING
    escaped_slashes       –                            PENDING → PENDING
    duplicate_node        –                            UNKNOWN → PENDING
    notice_first          SUCCEEDED → SUCCEEDED        SUCCEEDED → SUCCEEDED";

/// The payer has paid, the notification is lost, and the order is synced. The order; and it was paid once.
const FIND: &str = "
    the question          at WeChat Pay          at Alipay
    lose_request          PAID after 2 → PAID    PAID after 2 → PAID
    lose_request × 3      PAYING after 3 → PAID  PAYING after 3 → PAID
    lose_answer × 3       PAYING after 3 → PAID  PAYING after 3 → PAID
    reset_request × 3     PAYING after 3 → PAID  PAYING after 3 → PAID
    reset_answer × 3      PAYING after 3 → PAID  PAYING after 3 → PAID
    reset_mid_body × 3    PAYING after 3 → PAID  PAYING after 3 → PAID
    error_500 × 3         PAYING after 3 → PAID  –
    error_500             PAID after 2 → PAID    PAYING → PAID
    error_502 × 3         PAYING after 3 → PAID  PAYING after 3 → PAID
    error_503 × 3         PAYING after 3 → PAID  PAYING after 3 → PAID
    error_504 × 3         PAYING after 3 → PAID  PAYING after 3 → PAID
    rate_limited          PAYING → PAID          PAYING → PAID
    redirect              PAYING → PAID          PAYING → PAID
    delay_ms 9000         PAYING → PAID          PAYING → PAID
    slow_drip             PAYING → PAID          PAYING → PAID
    empty                 PAYING → PAID          PAYING → PAID
    huge                  PAYING → PAID          PAYING → PAID
    gzip_bomb             PAYING → PAID          PAYING → PAID
    unsigned              PAYING → PAID          PAYING → PAID
    wrongly_signed        PAYING → PAID          PAYING → PAID
    signtest              PAYING → PAID          PAYING → PAID
    other_answer          PAYING → PAID          PAYING → PAID
    wrong_number          PAYING → PAID          PAYING → PAID
    duplicate_node        –                      PAYING → PAID";

/// The order is cancelled, at Alipay after its code was scanned. The order; closed, it can no longer be paid.
const CLOSE: &str = "
    the closing           at WeChat Pay            at Alipay
    lose_request          PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    lose_answer           CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    reset_request         PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    reset_answer          CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    reset_mid_body        –                        CLOSED after 2 → CLOSED
    error_500             PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    error_502             PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    error_503             PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    error_504             PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    error_500_after       CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    error_502_after       CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    error_503_after       CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    error_504_after       CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    rate_limited          PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    redirect              PAYING after 2 → CLOSED  PAYING after 2 → CLOSED
    delay_ms 9000         CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    slow_drip             –                        CLOSED after 2 → CLOSED
    empty                 –                        CLOSED after 2 → CLOSED
    huge                  –                        CLOSED after 2 → CLOSED
    gzip_bomb             –                        CLOSED after 2 → CLOSED
    unsigned              CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    wrongly_signed        CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    signtest              CLOSED after 2 → CLOSED  CLOSED after 2 → CLOSED
    other_answer          –                        CLOSED after 2 → CLOSED
    wrong_number          –                        CLOSED after 2 → CLOSED
    duplicate_node        –                        CLOSED after 2 → CLOSED
    pay_during_close      PAID after 2 → PAID      PAID after 3 → PAID";

/// A quarter of a paid order goes back. Its refunds.
const REFUND: &str = "
    the refund            at WeChat Pay                     at Alipay
    lose_request          UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    lose_answer           UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    reset_request         UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    reset_answer          UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    reset_mid_body        UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    error_500             UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    error_502             UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    error_503             UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    error_504             UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    error_500_after       UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    error_502_after       UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    error_503_after       UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    error_504_after       UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    rate_limited          UNKNOWN → SUCCEEDED after 2       PROCESSING → SUCCEEDED after 2
    not_enough            PROCESSING → SUCCEEDED after 2    PROCESSING → SUCCEEDED after 2
    redirect              UNKNOWN → SUCCEEDED after 2       UNKNOWN → SUCCEEDED after 2
    delay_ms 9000         UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    slow_drip             UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    empty                 UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    huge                  UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    gzip_bomb             UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    unsigned              UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    wrongly_signed        UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    signtest              UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    other_answer          UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    wrong_number          UNKNOWN → SUCCEEDED               UNKNOWN → SUCCEEDED
    duplicate_node        –                                 UNKNOWN → SUCCEEDED
    lag_ms 10000          PROCESSING → SUCCEEDED after 2    SUCCEEDED → SUCCEEDED
    notice_first          SUCCEEDED → SUCCEEDED             SUCCEEDED → SUCCEEDED
    refund_closed         PROCESSING → FAILED + PROCESSING  PROCESSING → SUCCEEDED after 2
    refund_abnormal       PROCESSING → PROCESSING           FAILED → FAILED
    one_less              PROCESSING → PROCESSING           UNKNOWN → UNKNOWN
    one_more              PROCESSING → PROCESSING           PROCESSING → PROCESSING";

/// The answer to a refund and its notification were lost, so it is asked about. The refund; it happened once.
const FIND_REFUND: &str = "
    the question          at WeChat Pay                  at Alipay
    lose_request          SUCCEEDED after 2 → SUCCEEDED  SUCCEEDED after 2 → SUCCEEDED
    lose_request × 3      UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    lose_answer × 3       UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    reset_request × 3     UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    reset_answer × 3      UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    reset_mid_body × 3    UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    error_500 × 3         UNKNOWN after 3 → SUCCEEDED    –
    error_500             SUCCEEDED after 2 → SUCCEEDED  UNKNOWN → SUCCEEDED
    error_502 × 3         UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    error_503 × 3         UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    error_504 × 3         UNKNOWN after 3 → SUCCEEDED    UNKNOWN after 3 → SUCCEEDED
    rate_limited          UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    redirect              UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    delay_ms 9000         UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    slow_drip             UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    empty                 UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    huge                  UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    gzip_bomb             UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    unsigned              UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    wrongly_signed        UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    signtest              UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    other_answer          UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    wrong_number          UNKNOWN → SUCCEEDED            UNKNOWN → SUCCEEDED
    duplicate_node        –                              UNKNOWN → SUCCEEDED";

/// The payer pays. The order; whatever comes of the notification, it was paid once.
const NOTIFY: &str = "
    the notification     at WeChat Pay          at Alipay
    drop                 PAYING → PAID          PAYING → PAID
    delay_ms 86400000    PAYING → PAID          PAYING → PAID
    unsigned             PAYING → PAID          PAYING → PAID
    wrongly_signed       PAYING → PAID          PAYING → PAID
    signtest             PAYING → PAID          PAYING → PAID
    swap                 PAYING → PAID          PAYING → PAID
    duplicate            PAID → PAID            PAID → PAID
    duplicate × 50       PAID → PAID            PAID → PAID";
