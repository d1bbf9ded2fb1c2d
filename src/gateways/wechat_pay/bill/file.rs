//! A packed bill as it comes: unpacked within bounds, hashed, cut into lines.

use std::collections::VecDeque;
use std::io::Write;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use flate2::write::MultiGzDecoder;

use super::sheet::{Reader, Sheet};

/// No bill is larger, unpacked.
const LARGEST: u64 = 4 << 30;
/// Nor does any shrink to less than a hundredth, but for the first of it.
const LARGEST_RATIO: u64 = 100;
const FREE_OF_RATIO: u64 = 1 << 20;
/// What is unpacked at a time: a bomb becomes half a MiB at most before it is seen.
const PIECE: usize = 512;
/// No line is longer.
const LONGEST_LINE: usize = 64 * 1024;

/// One bill on its way.
pub(super) struct File<S> {
    unpacker: MultiGzDecoder<Vec<u8>>,
    packed: u64,
    unpacked: u64,
    hash: Context,
    expected_hash: String,
    /// The begin of a line whose end has not come.
    rest: Vec<u8>,
    reader: Reader<S>,
}

impl<S: Sheet> File<S> {
    /// A file whose unpacked bytes have this SHA-1, in hexadecimal digits.
    pub(super) fn new(expected_hash: &str, sheet: S) -> Self {
        Self {
            unpacker: MultiGzDecoder::new(Vec::new()),
            packed: 0,
            unpacked: 0,
            hash: Context::new(&SHA1_FOR_LEGACY_USE_ONLY),
            expected_hash: expected_hash.to_ascii_lowercase(),
            rest: Vec::new(),
            reader: Reader::new(sheet),
        }
    }

    /// The next part of it; the lines that end in it are put behind `lines`.
    pub(super) fn take(&mut self, packed: &[u8], lines: &mut VecDeque<S::Line>) -> Result<(), String> {
        for piece in packed.chunks(PIECE) {
            self.packed += piece.len() as u64;
            self.unpacker.write_all(piece).map_err(|_| "it is not packed with gzip")?;
            self.read(lines)?;
        }
        Ok(())
    }

    /// It is over: was it whole, and what was promised?
    pub(super) fn end(mut self, lines: &mut VecDeque<S::Line>) -> Result<(), String> {
        self.unpacker.try_finish().map_err(|_| "it is not packed with gzip, or not whole")?;
        self.read(lines)?;
        if hex::encode(self.hash.finish()) != self.expected_hash {
            return Err("its hash is not the one that was promised".to_owned());
        }
        if !self.rest.is_empty() {
            return Err("its last line does not end".to_owned());
        }
        self.reader.end()
    }

    fn read(&mut self, lines: &mut VecDeque<S::Line>) -> Result<(), String> {
        let bytes = std::mem::take(self.unpacker.get_mut());
        self.unpacked += bytes.len() as u64;
        let bound = LARGEST.min(FREE_OF_RATIO + self.packed * LARGEST_RATIO);
        if self.unpacked > bound {
            return Err(format!("it unpacks to more than {bound} bytes"));
        }
        self.hash.update(&bytes);
        self.rest.extend_from_slice(&bytes);
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = &self.rest[begin..begin + length];
            lines.extend(self.reader.line(line.strip_suffix(b"\r").unwrap_or(line))?);
            begin += length + 1;
        }
        self.rest.drain(..begin);
        if self.rest.len() > LONGEST_LINE { Err(format!("a line has more than {LONGEST_LINE} bytes")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use domain::{Currency, Money};
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::fund_flow::{FundFlow, FundFlowSheet};
    use super::super::trade::TradeSheet;
    use super::*;
    use crate::gateways::wechat_pay::vectors::{self, text};
    use crate::payments::ports::{BillEntry, BillLine};

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    fn sha1(text: &[u8]) -> String {
        hex::encode(aws_lc_rs::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, text))
    }

    /// All lines of a file that comes in parts of this size.
    fn read<S: Sheet>(packed: &[u8], hash: &str, part: usize, sheet: S) -> Result<Vec<S::Line>, String> {
        let (mut file, mut lines) = (File::new(hash, sheet), VecDeque::new());
        for bytes in packed.chunks(part) {
            file.take(bytes, &mut lines)?;
        }
        file.end(&mut lines).map(|()| lines.into())
    }

    fn trade(text: &str) -> Result<Vec<BillLine>, String> {
        read(&pack(text.as_bytes()), &sha1(text.as_bytes()), 1_000, TradeSheet::new("1900000001"))
    }

    fn vector(name: &str) -> (Vec<u8>, String, String) {
        let vector = &vectors::bill()[name];
        let packed = STANDARD.decode(text(&vector["gzip_base64"])).unwrap();
        (packed, text(&vector["sha1_of_raw"]).to_owned(), text(&vector["text"]).to_owned())
    }

    #[test]
    fn the_trade_bill_of_the_vectors_is_read_in_parts_of_any_size() {
        let (packed, hash, _) = vector("tradebill_ALL");
        let at = |hour: i64| vectors::now() + domain::Duration::hours(hour - 24 - 8 + 8) + domain::Duration::seconds(5);
        let line = |entry, fen, at| BillLine {
            payment: "T20251231000001".to_owned(),
            transaction_id: "4200000000202512311234567890".to_owned(),
            entry,
            amount: Money::new(fen, Currency::CNY),
            at,
        };
        let refund = BillEntry::Refund { number: "R20251231000001".to_owned(), done: true };
        let expected = vec![line(BillEntry::Payment, 100, at(2)), line(refund, 40, at(3))];
        for part in [1, 7, 100, packed.len()] {
            assert_eq!(read(&packed, &hash, part, TradeSheet::new("1900000001")).unwrap(), expected, "{part}");
        }
        assert_eq!(read(&packed, &hash.to_uppercase(), 100, TradeSheet::new("1900000001")).unwrap().len(), 2);
    }

    #[test]
    fn the_fund_flow_of_the_vectors_is_read() {
        let (packed, hash, _) = vector("fundflow");
        let lines: Vec<FundFlow> = read(&packed, &hash, 100, FundFlowSheet::default()).unwrap();
        let [came, went] = &lines[..] else { panic!("{lines:?}") };
        assert!(came.income && !went.income);
        assert_eq!((came.amount.minor, went.amount.minor, went.balance), (100, 40, 10_060));
        assert_eq!((came.kind.as_str(), went.voucher.as_str()), ("交易", "R20251231000001"));
        assert_eq!(came.business_number, "4200000000202512311234567890");
    }

    #[test]
    fn a_file_that_is_not_what_was_promised_ends_with_an_error() {
        let (packed, hash, raw) = vector("tradebill_ALL");
        let sheet = || TradeSheet::new("1900000001");
        let why = |packed: &[u8], hash: &str| read(packed, hash, 100, sheet()).unwrap_err();
        // The hash of what is packed is not the hash that counts.
        assert!(why(&packed, text(&vectors::bill()["tradebill_ALL"]["sha1_of_gzip"])).contains("hash"));
        assert!(why(&packed[..packed.len() - 20], &hash).contains("not whole"));
        assert!(why(raw.as_bytes(), &hash).contains("not packed"));
        assert!(why(b"", &hash).contains("hash") || why(b"", &hash).contains("not whole"));
        assert!(why(&pack(b""), &sha1(b"")).contains("no summary"));
    }

    #[test]
    fn a_bomb_is_seen_before_it_goes_off() {
        let zeros = vec![b'`'; 8 << 20];
        let why = read(&pack(&zeros), &sha1(&zeros), 4_096, TradeSheet::new("1900000001")).unwrap_err();
        assert!(why.contains("unpacks to more than") || why.contains("a line has more than"), "{why}");
        let lines = "`\n".repeat(4 << 20);
        let mut file = File::new("", CountingSheet);
        let header = pack(b"a\n");
        file.take(&header, &mut VecDeque::new()).unwrap();
        let why = file.take(&pack(lines.as_bytes()), &mut VecDeque::new()).unwrap_err();
        assert!(why.contains("unpacks to more than"), "{why}");
    }

    /// Takes every line.
    struct CountingSheet;

    impl Sheet for CountingSheet {
        type Line = ();
        fn line(&mut self, _: &super::super::sheet::Row<'_>) -> Result<(), String> {
            Ok(())
        }
        fn check(&self, _: u64, _: &super::super::sheet::Row<'_>) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn what_the_summary_says_must_be_so() {
        let (.., good) = vector("tradebill_ALL");
        assert_eq!(trade(&good).unwrap().len(), 2);
        // Numbers as other bills print them.
        assert_eq!(trade(&good.replace("\r\n`2,`1.00,`0.40", "\r\n`2.0,`1.0,`0.4")).unwrap().len(), 2);
        let one_line_less: String =
            good.split_inclusive("\r\n").enumerate().filter(|(n, _)| *n != 2).map(|(_, l)| l).collect();
        let begin = |n: usize| good.split_inclusive("\r\n").take(n).collect::<String>();
        for (bad, why) in [
            (one_line_less, "2 lines were promised and 1 came"),
            (good.replace("`2,`1.00,`0.40,`0.00,`0.01000,`1.00", "`2,`1.00,`0.40,`0.00,`0.01000,`1.01"), "订单总金额"),
            (good.replace("`1.00,`0.40\r\n", "`1.00,`0.41\r\n"), "申请退款总金额"),
            (begin(3), "no summary"),
            (begin(4), "no summary"),
            (format!("{good}`1,`1\r\n"), "after the summary"),
            (good.replace("订单金额", "金额"), "no column"),
            (good.replace("`SUCCESS,`OTHERS", "`NEW,`OTHERS"), "交易状态"),
            (good.replace("`1.00,`0.00,`\r\n", "`1.005,`0.00,`\r\n"), "订单金额"),
            (good.replace("`1.00,`0.00,`\r\n", "`-1.00,`0.00,`\r\n"), "订单金额"),
            (good.replace("`1.00,`0.00,`\r\n", "`1.00,`\r\n"), "cells"),
            (good.replace("`1900000001", "`1900000002"), "another merchant"),
            (good.replace("2025-12-31 10:00:05", "2025-12-31"), "交易时间"),
            (good.replace("`CNY", "`USD"), "货币种类"),
            (good.trim_end().to_owned(), "does not end"),
        ] {
            assert_ne!(bad, good, "{why}");
            let said = trade(&bad).unwrap_err();
            assert!(said.contains(why), "{said}: {why}");
        }
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_are() {
        let (.., good) = vector("tradebill_ALL");
        let moved: String = good
            .split_inclusive("\r\n")
            .enumerate()
            .map(|(n, line)| match n {
                0 => format!("\u{feff}新列,{}", line.trim_start_matches('\u{feff}')),
                1 | 2 => format!("`a,b,{line}"),
                _ => line.to_owned(),
            })
            .collect();
        assert_eq!(trade(&moved).unwrap(), trade(&good).unwrap());
    }
}
