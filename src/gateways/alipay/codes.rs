//! Every result code that Alipay documents, and what it means for each call.
//!
//! Source: Alipay's open platform: the public result codes; the error lists of `alipay.trade.precreate` (and page,
//! wap, app), `.query`, `.close`, `.refund`, `.fastpay.refund.query` and
//! `alipay.data.dataservice.bill.downloadurl.query`. Ends of sub-codes are compared: `ACQ.SYSTEM_ERROR` also comes
//! as `aop.ACQ.SYSTEM_ERROR`, and once in print as `AQC.SYSTEM_ERROR`.

use super::errors::Call::{self, Bill, Close, Find, FindRefund, Open, Refund};
use super::errors::Meaning::{self, Later, Nothing, Refused, Unknown};

const ALL: &[Call] = &[Open, Find, Close, Refund, FindRefund, Bill];
/// In place of a code or the end of a sub-code.
const ANY: &str = "";

/// Code, end of the sub-code, calls, meaning.
type Row = (&'static str, &'static str, &'static [Call], Meaning);

/// The first row that fits counts. What fits none is unknown: also a new sub-code of 40004, which is in no list.
const TABLE: &[Row] = &[
    // Public: it may have happened. Whatever stands beside 20000 is no answer.
    ("20000", ANY, ALL, Unknown), // isp.unknow-error, aop.unknow-error: spelled so
    (ANY, "unknow-error", ALL, Unknown),
    (ANY, "unknown-error", ALL, Unknown),
    (ANY, "SYSTEM_ERROR", ALL, Unknown),
    // Public: the payer is confirming; only code-scan payments, which we do not make.
    ("10003", ANY, ALL, Unknown),
    // Public: turned away before anybody looked at what is asked for.
    ("20001", ANY, ALL, Refused), // aop.invalid-auth-token, aop.invalid-app-auth-token
    ("40001", ANY, ALL, Refused), // isv.missing-*
    ("40002", ANY, ALL, Refused), // isv.invalid-*, isv.suspected-attack
    ("40003", ANY, ALL, Refused), // isv.missing-signature-config
    ("40006", ANY, ALL, Refused), // isv.insufficient-isv-permissions
    // Public: not executed.
    ("40005", ANY, ALL, Later),      // isv.app-call-limited, isv.method-call-limited
    (ANY, "RATE_LIMIT", ALL, Later), // SYSTEM_, USER_; the bills'
    // Every call's.
    ("40004", "ACQ.INVALID_PARAMETER", ALL, Refused),
    // Opening. The last four say that the payment is further than we thought, or its time is over.
    ("40004", "ACQ.ACCESS_FORBIDDEN", &[Open], Refused),
    ("40004", "ACQ.EXIST_FORBIDDEN_WORD", &[Open], Refused),
    ("40004", "ACQ.PARTNER_ERROR", &[Open], Refused),
    ("40004", "ACQ.TOTAL_FEE_EXCEED", &[Open], Refused),
    ("40004", "ACQ.BUYER_SELLER_EQUAL", &[Open], Refused),
    ("40004", "ACQ.APPLY_PC_MERCHANT_CODE_ERROR", &[Open], Refused),
    ("40004", "ACQ.CONTEXT_INCONSISTENT", &[Open], Refused),
    ("40004", "ACQ.TRADE_HAS_SUCCESS", &[Open], Refused),
    ("40004", "ACQ.TRADE_HAS_CLOSE", &[Open, Refund], Refused),
    ("40004", "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR", &[Open], Refused),
    // Absence. A precreated code that nobody scanned, and a page that nobody opened, are no trade yet.
    ("40004", "ACQ.TRADE_NOT_EXIST", &[Find, Close, FindRefund], Nothing),
    ("40004", "ACQ.TRADE_NOT_EXIST", &[Refund], Refused),
    // Closing, and refunds: the state of the trade.
    ("40004", "ACQ.TRADE_STATUS_ERROR", &[Close, Refund], Refused),
    ("40004", "ACQ.REASON_TRADE_STATUS_INVALID", &[Close], Refused),
    ("40004", "ACQ.REASON_ILLEGAL_STATUS", &[Close], Refused),
    // Refunds: later, under the same number.
    ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", &[Refund], Later),
    ("40004", "ACQ.REFUND_CHARGE_ERROR", &[Refund], Later),
    // Refunds: one number, two amounts; the earlier one may have succeeded.
    ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", &[Refund], Refused),
    // Refunds: the amount.
    ("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", &[Refund], Refused),
    ("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR", &[Refund], Refused),
    ("40004", "ACQ.REFUND_FEE_ERROR", &[Refund], Refused),
    ("40004", "ACQ.NOT_ALLOW_PARTIAL_REFUND", &[Refund], Refused),
    // Refunds: the trade, the payer, the account.
    ("40004", "ACQ.TRADE_HAS_FINISHED", &[Refund], Refused),
    ("40004", "ACQ.TRADE_NOT_ALLOW_REFUND", &[Refund], Refused),
    ("40004", "ACQ.REASON_TRADE_BEEN_FREEZEN", &[Refund], Refused),
    ("40004", "ACQ.BUYER_ERROR", &[Refund], Refused),
    ("40004", "ACQ.CUSTOMER_VALIDATE_ERROR", &[Refund], Refused),
    ("40004", "ACQ.REFUND_ACCOUNT_NOT_EXIST", &[Refund], Refused),
    // Bills, without a prefix.
    ("40004", "NO_BILL_DATA", &[Bill], Nothing),
    ("40004", "BILL_NOT_EXIST", &[Bill], Nothing),
    ("40004", "INVAILID_ARGUMENTS", &[Bill], Refused), // spelled so
    ("40004", "TYPE_NOT_SUPPORTED", &[Bill], Refused),
    ("40004", "BILL_DATE_BEFORE_REGISTRATION", &[Bill], Refused),
];

/// What a signed error means.
pub(super) fn meaning(call: Call, code: &str, sub_code: &str) -> Meaning {
    let fits = |row: &&Row| (row.0 == ANY || row.0 == code) && sub_code.ends_with(row.1) && row.2.contains(&call);
    TABLE.iter().find(fits).map_or(Unknown, |row| row.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [Call; 6] = [Open, Find, Close, Refund, FindRefund, Bill];

    /// What the code means for the calls named, and that it is unknown for all others.
    fn expect(code: &str, sub_code: &str, known: &[(Call, Meaning)]) {
        for call in CALLS {
            let expected = known.iter().find(|(named, _)| *named == call).map_or(Unknown, |(_, meaning)| *meaning);
            assert_eq!(meaning(call, code, sub_code), expected, "{code} {sub_code} {call:?}");
        }
    }

    fn expect_all(code: &str, sub_code: &str, meaning: Meaning) {
        expect(code, sub_code, &CALLS.map(|call| (call, meaning)));
    }

    #[test]
    fn public_codes_mean_the_same_for_every_call() {
        for (code, sub_code) in [
            ("20000", "isp.unknow-error"),
            ("20000", "aop.unknow-error"),
            ("20000", "isp.unknown-error"),
            ("20000", "aop.ACQ.SYSTEM_ERROR"),
            ("20000", "ACQ.TRADE_NOT_EXIST"),
            ("20000", ""),
            ("10003", ""),
            ("50000", "ACQ.TRADE_NOT_EXIST"),
            ("", ""),
            ("40004", ""),
            ("40004", "ACQ.SYSTEM_ERROR"),
            ("40004", "AQC.SYSTEM_ERROR"),
            ("40004", "aop.ACQ.SYSTEM_ERROR"),
            ("40004", "isp.unknow-error"),
            ("40004", "aop.unknow-error"),
            ("40004", "ACQ.SOMETHING_NEW"),
        ] {
            expect_all(code, sub_code, Unknown);
        }
        for (code, sub_code) in [
            ("20001", "aop.invalid-auth-token"),
            ("20001", "aop.invalid-app-auth-token"),
            ("40001", "isv.missing-method"),
            ("40001", "isv.missing-signature"),
            ("40002", "isv.invalid-signature"),
            ("40002", "isv.invalid-app-id"),
            ("40002", "isv.invalid-timestamp"),
            ("40002", "isv.invalid-charset"),
            ("40002", "isv.invalid-method"),
            ("40002", "isv.invalid-parameter"),
            ("40002", "isv.invalid-format"),
            ("40002", "isv.invalid-signature-type"),
            ("40002", "isv.suspected-attack"),
            ("40003", "isv.missing-signature-config"),
            ("40006", "isv.insufficient-isv-permissions"),
            ("40004", "ACQ.INVALID_PARAMETER"),
        ] {
            expect_all(code, sub_code, Refused);
        }
        for (code, sub_code) in [
            ("40005", "isv.app-call-limited"),
            ("40005", "isv.method-call-limited"),
            ("40004", "SYSTEM_RATE_LIMIT"),
            ("40004", "USER_RATE_LIMIT"),
        ] {
            expect_all(code, sub_code, Later);
        }
    }

    #[test]
    fn every_business_code_is_known_to_its_calls_and_to_no_other() {
        let refused: &[(Call, &[&str])] = &[
            (
                Open,
                &[
                    "ACCESS_FORBIDDEN",
                    "EXIST_FORBIDDEN_WORD",
                    "PARTNER_ERROR",
                    "TOTAL_FEE_EXCEED",
                    "BUYER_SELLER_EQUAL",
                    "CONTEXT_INCONSISTENT",
                    "TRADE_HAS_SUCCESS",
                    "APPLY_PC_MERCHANT_CODE_ERROR",
                    "NOW_TIME_AFTER_EXPIRE_TIME_ERROR",
                ],
            ),
            (Close, &["REASON_TRADE_STATUS_INVALID", "REASON_ILLEGAL_STATUS"]),
            (
                Refund,
                &[
                    "REFUND_AMT_NOT_EQUAL_TOTAL",
                    "REASON_TRADE_REFUND_FEE_ERR",
                    "REFUND_FEE_ERROR",
                    "NOT_ALLOW_PARTIAL_REFUND",
                    "TRADE_HAS_FINISHED",
                    "TRADE_NOT_ALLOW_REFUND",
                    "REASON_TRADE_BEEN_FREEZEN",
                    "BUYER_ERROR",
                    "CUSTOMER_VALIDATE_ERROR",
                    "REFUND_ACCOUNT_NOT_EXIST",
                ],
            ),
        ];
        for (call, names) in refused {
            for name in *names {
                expect("40004", &format!("ACQ.{name}"), &[(*call, Refused)]);
                expect("40004", &format!("aop.ACQ.{name}"), &[(*call, Refused)]);
            }
        }
        expect("40004", "ACQ.TRADE_HAS_CLOSE", &[(Open, Refused), (Refund, Refused)]);
        expect("40004", "ACQ.TRADE_STATUS_ERROR", &[(Close, Refused), (Refund, Refused)]);
        let absent = [(Find, Nothing), (Close, Nothing), (FindRefund, Nothing), (Refund, Refused)];
        expect("40004", "ACQ.TRADE_NOT_EXIST", &absent);
        expect("40004", "aop.ACQ.TRADE_NOT_EXIST", &absent);
        expect("40004", "TRADE_NOT_EXIST", &[]);
        expect("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", &[(Refund, Later)]);
        expect("40004", "ACQ.REFUND_CHARGE_ERROR", &[(Refund, Later)]);
        expect("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", &[(Refund, Refused)]);
        for (name, meaning) in [
            ("NO_BILL_DATA", Nothing),
            ("BILL_NOT_EXIST", Nothing),
            ("INVAILID_ARGUMENTS", Refused),
            ("TYPE_NOT_SUPPORTED", Refused),
            ("BILL_DATE_BEFORE_REGISTRATION", Refused),
        ] {
            expect("40004", name, &[(Bill, meaning)]);
        }
        // Of a cancel, which we do not ask for.
        for name in ["TRADE_CANCEL_TIME_OUT", "CANCEL_NOT_ALLOWED"] {
            expect("40004", &format!("ACQ.{name}"), &[]);
        }
    }
}
