//! What must hold whatever has happened, as queries that return no row. The texts are in `invariants.sql`.

use chrono::SecondsFormat;
use domain::{Duration, Timestamp};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Store, StoreError, machine_now};

const TEXT: &str = include_str!("invariants.sql");
/// More rows of one violation than this are not looked at.
const ROWS: usize = 100;
/// Lately: the orders of so many newest events.
const NEWEST_EVENTS: u32 = 2_000;

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What it promises, in a sentence.
    pub promise: &'static str,
    deep: bool,
    postgres: bool,
    query: &'static str,
}

/// How far a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What has changed lately; cheap on tables of any size.
    Lately,
    /// Everything.
    Everything,
}

/// What an invariant's query returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The ids of rows, at most 100.
    pub rows: Vec<String>,
}

impl Invariant {
    /// Every one of them.
    pub fn all() -> Vec<Invariant> {
        TEXT.split(";\n").filter_map(Self::read).collect()
    }

    fn read(text: &'static str) -> Option<Invariant> {
        let query = &text[text.find("\nSELECT")?..];
        // The file's own heading may stand before the first one: the name is in the last paragraph.
        let heading = text[..text.len() - query.len()].rsplit("\n\n").next()?.trim();
        let (name, promise) = heading.lines().next()?.strip_prefix("-- ")?.split_once(": ")?;
        let says = |flag| heading.lines().any(|line| line == flag);
        Some(Invariant { name, promise, deep: says("-- deep"), postgres: says("-- postgres"), query })
    }

    /// The query, as this database understands it; `None`: it has no such thing, or it is too much for this depth.
    pub fn sql(&self, backend: DbBackend, depth: Depth, now: Timestamp) -> Option<String> {
        if (self.postgres && backend != DbBackend::Postgres) || (self.deep && depth != Depth::Everything) {
            return None;
        }
        let lease_over = match backend {
            DbBackend::Postgres => "clock_timestamp() - interval '20 seconds'".to_owned(),
            DbBackend::Sqlite => literal(backend, machine_now() - Duration::seconds(20)),
            _ => "UTC_TIMESTAMP(6) - INTERVAL 20 SECOND".to_owned(),
        };
        let text = self
            .query
            .replace(":lease_over", &lease_over)
            .replace(":five_minutes_ago", &literal(backend, now - Duration::minutes(5)))
            .replace(":two_days_ago", &literal(backend, now - Duration::days(2)));
        let mut sql = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(":among(") {
            let (seq, after) = after.split_once(')')?;
            sql.push_str(before);
            match depth {
                Depth::Everything => sql.push_str("1 = 1"),
                Depth::Lately => sql.push_str(&format!(
                    "{seq} IN (SELECT order_seq FROM events WHERE seq > (SELECT COALESCE(MAX(seq), 0) FROM events) - {NEWEST_EVENTS})"
                )),
            }
            rest = after;
        }
        sql.push_str(rest);
        Some(format!("{sql}\nLIMIT {ROWS}"))
    }
}

/// A moment as the database writes and compares it.
fn literal(backend: DbBackend, at: Timestamp) -> String {
    match backend {
        DbBackend::MySql => format!("'{}'", at.format("%F %T%.6f")),
        _ => format!("'{}'", at.to_rfc3339_opts(SecondsFormat::AutoSi, false)),
    }
}

impl Store {
    /// Asks one invariant; `None`: it is not asked at this depth, or not of this database.
    pub async fn check(
        &self,
        invariant: &Invariant,
        depth: Depth,
        now: Timestamp,
    ) -> Result<Option<Violation>, StoreError> {
        let backend = self.read.get_database_backend();
        let Some(sql) = invariant.sql(backend, depth, now) else { return Ok(None) };
        let rows = self.read.query_all_raw(Statement::from_string(backend, sql)).await?;
        let id = |row: &sea_orm::QueryResult| {
            let text = row.try_get_by_index::<String>(0).ok();
            let number = || row.try_get_by_index::<i64>(0).map(|n| n.to_string()).ok();
            text.or_else(number).unwrap_or_else(|| "?".to_owned())
        };
        Ok(Some(Violation { rows: rows.iter().map(id).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_read_with_its_name() {
        let all = Invariant::all();
        assert_eq!(all.len(), TEXT.matches("\nSELECT").count());
        let mut names: Vec<_> = all.iter().map(|i| i.name).collect();
        assert_eq!((names[0], names[names.len() - 1]), ("one_winner", "nobody_idles"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for invariant in &all {
            assert!(invariant.promise.ends_with('.'), "{invariant:?}");
            let sql = invariant.sql(DbBackend::Postgres, Depth::Everything, machine_now()).unwrap();
            assert!(!sql.contains(" :") && !sql.contains("(:"), "{sql}");
        }
        assert_eq!(all.iter().filter(|i| i.deep).count(), TEXT.matches("\n-- deep\n").count());
    }
}
