//! One list of trades: GBK, CRLF, cells between commas that nobody quotes, columns found by their names, and two
//! sums at the end that must come out.

use std::io::{BufRead, Read};

use domain::{Currency, Date, Money};
use encoding_rs::GBK;

use crate::gateways::alipay::beijing;
use crate::gateways::alipay::yuan::Yuan;
use crate::payments::ports::{BillEntry, BillLine};

/// In bytes; real ones have some 400.
const LINE_LIMIT: u64 = 16 * 1024;
const NAME: &str = "商品名称";

/// What a list must be about.
pub(super) struct Sheet {
    pub day: Date,
    pub seller_id: String,
}

/// What was read so far of one kind of entry, as the list's end sums it up: how many, and how much the merchant got.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    fen: i64,
}

/// Where the cells are that we read.
struct Columns {
    count: usize,
    /// The name of what was sold: the one before the moments, and it may hold commas.
    name: usize,
    transaction_id: usize,
    payment: usize,
    kind: usize,
    at: usize,
    amount: usize,
    received: usize,
    refund: usize,
}

struct Row {
    line: BillLine,
    received: i64,
}

impl Sheet {
    /// Reads to the end and hands out each line, until `take` says that nobody wants more. `false`: this is not
    /// a list of trades.
    pub(super) fn read(
        &self,
        mut text: impl BufRead,
        mut take: impl FnMut(BillLine) -> bool,
    ) -> Result<bool, &'static str> {
        let (mut about_account, mut about_day) = (false, false);
        let columns = loop {
            let Some(line) = next_line(&mut text)? else { return Ok(false) };
            match line.strip_prefix('#') {
                Some(said) => {
                    let from = self.day.format("[%Y年%m月%d日 00:00:00]").to_string();
                    about_account |= said.starts_with("账号") && said.contains(&format!("[{}", self.seller_id));
                    about_day |= said.starts_with("起始日期")
                        && said.split("终止日期").next().is_some_and(|t| t.contains(&from));
                }
                None => match Columns::find(&line) {
                    Some(columns) => break columns,
                    None => return Ok(false),
                },
            }
        };
        if !about_account {
            return Err("is another account's");
        }
        if !about_day {
            return Err("is another day's");
        }
        let (mut payments, mut refunds) = (Sum::default(), Sum::default());
        loop {
            let line = next_line(&mut text)?.ok_or("breaks off")?;
            if line.starts_with('#') {
                break;
            }
            let Row { line, received } = columns.row(&line)?;
            let sum = if line.entry == BillEntry::Payment { &mut payments } else { &mut refunds };
            sum.count += 1;
            sum.fen = sum.fen.checked_add(received).ok_or("sums up to too much")?;
            if !take(line) {
                return Ok(true);
            }
        }
        self.compare(text, [("#交易合计", payments), ("#退款合计", refunds)])?;
        Ok(true)
    }

    /// The two sums must be there and be ours.
    fn compare(&self, mut text: impl BufRead, sums: [(&str, Sum); 2]) -> Result<(), &'static str> {
        let mut seen = [false; 2];
        while let Some(line) = next_line(&mut text)? {
            for ((label, counted), seen) in sums.iter().zip(&mut seen) {
                if let Some(said) = line.strip_prefix(label) {
                    if Sum::read(said) != Some((counted.count, counted.fen.abs())) {
                        return Err("does not come to its own sums");
                    }
                    *seen = true;
                }
            }
        }
        if seen == [true; 2] { Ok(()) } else { Err("breaks off") }
    }
}

impl Sum {
    /// `：1笔，商家实收共100.00元，…` or `：1笔，商家实收退款共-40.00元，…`: the count and the first amount.
    fn read(said: &str) -> Option<(u64, i64)> {
        let (count, rest) = said.trim_start_matches([':', '：']).split_once('笔')?;
        let (_, rest) = rest.split_once('共')?;
        let (amount, _) = rest.split_once('元')?;
        Some((count.trim().parse().ok()?, Yuan::signed_fen(amount.trim()).ok()?.abs()))
    }
}

impl Columns {
    /// `None`: these are not the names of a list of trades.
    fn find(line: &str) -> Option<Self> {
        let names: Vec<&str> =
            line.split(',').map(|cell| plain(cell).split(['（', '(']).next().unwrap_or("")).collect();
        let find = |name: &str| names.iter().position(|cell| *cell == name);
        let columns = Self {
            count: names.len(),
            name: find(NAME)?,
            transaction_id: find("支付宝交易号")?,
            payment: find("商户订单号")?,
            kind: find("业务类型")?,
            at: find("完成时间")?,
            amount: find("订单金额")?,
            received: find("商家实收")?,
            refund: find("退款批次号/请求号")?,
        };
        Some(columns)
    }

    /// Nobody quotes a comma in the name of what was sold, or in a remark at the end. Cells that are too many are
    /// given to the one or the other; exactly one way must read as a row.
    fn row(&self, line: &str) -> Result<Row, &'static str> {
        let cells: Vec<&str> = line.split(',').map(plain).collect();
        let more = cells.len().checked_sub(self.count).ok_or("has a row with too few cells")?;
        let mut rows = (0..=more).map(|in_name| self.row_of(&cells, in_name));
        if more == 0 {
            return rows.next().unwrap_or(Err("has no rows"));
        }
        let mut fitting = rows.filter_map(Result::ok);
        match (fitting.next(), fitting.next()) {
            (Some(row), None) => Ok(row),
            _ => Err("has a row that reads in no way, or in two"),
        }
    }

    /// The row, if so many of its commas belong to the name.
    fn row_of(&self, cells: &[&str], in_name: usize) -> Result<Row, &'static str> {
        let cell = |column: usize| cells[if column > self.name { column + in_name } else { column }];
        let number = |text: &str| {
            let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            if fits { Ok(text.to_owned()) } else { Err("has a number that is none") }
        };
        let at = beijing::read(cell(self.at)).map_err(|_| "has a moment that is none")?;
        let amount = Yuan::signed_fen(cell(self.amount)).map_err(|_| "has an amount that is none")?;
        let received = Yuan::signed_fen(cell(self.received)).map_err(|_| "has an amount that is none")?;
        let payment = number(cell(self.payment))?;
        let entry = match (cell(self.kind), cell(self.refund)) {
            ("交易", _) if amount > 0 => BillEntry::Payment,
            // A refund without a number of its own has its payment's.
            ("退款", "") if amount != 0 => BillEntry::Refund { number: payment.clone(), done: true },
            ("退款", refund) if amount != 0 => BillEntry::Refund { number: number(refund)?, done: true },
            ("交易" | "退款", _) => return Err("has an entry without money"),
            _ => return Err("has an entry of an unknown kind"),
        };
        let transaction_id = number(cell(self.transaction_id))?;
        let amount = Money::new(amount.abs(), Currency::CNY);
        Ok(Row { line: BillLine { payment, transaction_id, entry, amount, at }, received })
    }
}

/// A TAB ends many cells.
fn plain(cell: &str) -> &str {
    cell.trim_matches(['\t', ' '])
}

/// The next line that is not empty. What is cut in the middle of a character is replaced: it can only be text.
fn next_line(text: &mut impl BufRead) -> Result<Option<String>, &'static str> {
    loop {
        let mut line = Vec::new();
        let read = text.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line);
        if read.map_err(|_| "is a damaged ZIP file")? == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LINE_LIMIT {
            return Err("has a line of more than 16 KiB");
        }
        let (line, _) = GBK.decode_without_bom_handling(line.trim_ascii_end());
        if !line.is_empty() {
            return Ok(Some(line.into_owned()));
        }
    }
}
