//! The layout that all bills share: a line of column names, a backtick before each cell, and at the end the same
//! once more for the sums.

use chrono::{FixedOffset, NaiveDateTime};
use domain::Timestamp;

/// What the lines of one kind of bill are, and what its summary promises.
pub(super) trait Sheet: Send + 'static {
    /// One line.
    type Line: Send + 'static;
    /// Reads a line.
    fn line(&mut self, row: &Row<'_>) -> Result<Self::Line, String>;
    /// Compares the summary with the lines that came.
    fn check(&self, lines: u64, summary: &Row<'_>) -> Result<(), String>;
}

/// Cells under their column names.
pub(super) struct Row<'a> {
    columns: &'a [String],
    cells: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn read(columns: &'a [String], line: &'a str) -> Result<Self, String> {
        let line = line.strip_prefix('`').ok_or("a line does not begin with a backtick")?;
        let cells: Vec<&str> = line.split(",`").collect();
        if cells.len() != columns.len() {
            return Err(format!("a line has {} cells, and there are {} columns", cells.len(), columns.len()));
        }
        Ok(Self { columns, cells })
    }

    /// The cell of this column.
    pub(super) fn text(&self, column: &str) -> Result<&'a str, String> {
        let at = self.columns.iter().position(|name| name == column);
        at.map(|at| self.cells[at]).ok_or_else(|| format!("there is no column {column}"))
    }

    /// Yuan, in fen.
    pub(super) fn fen(&self, column: &str) -> Result<i64, String> {
        let text = self.text(column)?;
        fen(text).ok_or_else(|| format!("{column} is not an amount in yuan"))
    }

    /// A whole number; summaries print `45.0`, too.
    pub(super) fn count(&self, column: &str) -> Result<u64, String> {
        let whole = fen(self.text(column)?).filter(|hundredths| hundredths % 100 == 0);
        let count = whole.and_then(|hundredths| u64::try_from(hundredths / 100).ok());
        count.ok_or_else(|| format!("{column} is not a whole number"))
    }

    /// `2025-12-31 10:00:05`, on the clocks of Beijing.
    pub(super) fn time(&self, column: &str) -> Result<Timestamp, String> {
        let local = NaiveDateTime::parse_from_str(self.text(column)?, "%Y-%m-%d %H:%M:%S").ok();
        let at =
            local.zip(FixedOffset::east_opt(8 * 3_600)).and_then(|(at, zone)| at.and_local_timezone(zone).single());
        at.map(|at| domain::to_stored(at.to_utc())).ok_or_else(|| format!("{column} is not a time"))
    }
}

/// Exactly: `0.4`, `0.40` and `0.40000` are 40; a part of a fen is nothing that we read, nor is a sign.
fn fen(yuan: &str) -> Option<i64> {
    let (whole, part) = yuan.split_once('.').unwrap_or((yuan, "0"));
    let digits = |text: &str| (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let part = Some(part).filter(|part| digits(part))?.trim_end_matches('0');
    if !digits(whole) || part.len() > 2 {
        return None;
    }
    format!("{whole}{part:0<2}").parse().ok()
}

/// Reads one bill, line by line.
pub(super) struct Reader<S> {
    sheet: S,
    stage: Stage,
    lines: u64,
}

/// What comes next.
enum Stage {
    Columns,
    Lines(Vec<String>),
    Summary(Vec<String>),
    Nothing,
}

impl<S: Sheet> Reader<S> {
    pub(super) fn new(sheet: S) -> Self {
        Self { sheet, stage: Stage::Columns, lines: 0 }
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<S::Line>, String> {
        let line = str::from_utf8(line).map_err(|_| "a line is not UTF-8")?;
        let columns = |line: &str| line.split(',').map(str::to_owned).collect();
        match &self.stage {
            Stage::Columns => self.stage = Stage::Lines(columns(line.trim_start_matches('\u{feff}'))),
            Stage::Lines(names) if line.starts_with('`') => {
                self.lines += 1;
                return self.sheet.line(&Row::read(names, line)?).map(Some);
            }
            Stage::Lines(_) => self.stage = Stage::Summary(columns(line)),
            Stage::Summary(names) => {
                self.sheet.check(self.lines, &Row::read(names, line)?)?;
                self.stage = Stage::Nothing;
            }
            Stage::Nothing if line.is_empty() => {}
            Stage::Nothing => return Err("something comes after the summary".to_owned()),
        }
        Ok(None)
    }

    /// There are no more lines.
    pub(super) fn end(self) -> Result<(), String> {
        match self.stage {
            Stage::Nothing => Ok(()),
            _ => Err("there is no summary at its end".to_owned()),
        }
    }
}

/// Says that a number of the summary is what came.
pub(super) fn same<T: PartialEq + std::fmt::Display>(what: &str, promised: T, came: T) -> Result<(), String> {
    if promised == came { Ok(()) } else { Err(format!("{what}: {promised} was promised and {came} came")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_become_fen_exactly_or_not_at_all() {
        for (yuan, expected) in [
            ("0.00", 0),
            ("0.01", 1),
            ("0.1", 10),
            ("0.29", 29),
            ("1.15", 115),
            ("45.0", 4_500),
            ("0.47000", 47),
            ("100", 10_000),
            ("999999999999.99", 99_999_999_999_999),
        ] {
            assert_eq!(fen(yuan), Some(expected), "{yuan}");
        }
        for wrong in
            ["", ".", "1.", ".5", "1.001", "-1.00", "+1", "1e2", "1,000.00", " 1", "٣", "1.0.0", "1000000000000"]
        {
            assert_eq!(fen(wrong), None, "{wrong}");
        }
    }
}
