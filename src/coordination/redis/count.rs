//! Counting together: what every process has let in under a name, as a level that runs off at its rate.
//!
//! A name's value is the time at which its level will have run off (GCRA): one key, gone by itself when it is
//! empty. The time is Redis' own, so that no process' clock matters. A Redis that forgets makes the level lower,
//! never higher; one whose clock jumps holds nobody up for longer than two periods.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, RedisResult, Script, Value, cmd};

use super::link::Link;
use super::masters::Masters;
use super::owed::no_script;
use super::slots::slot_of;
use super::{count_key, tag};
use crate::payments::ports::Counted;

/// In one round trip at most: locks wait behind it.
const AT_ONCE: usize = 64;

/// Adds ARGV[1] of ARGV[2] in ARGV[3] microseconds; answers by how many microseconds the level runs off later
/// than now.
const ADD: &str = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2] \
    local per = tonumber(ARGV[3]) local at = tonumber(redis.call('GET', KEYS[1]) or 0) \
    at = math.max(now, math.min(at, now + 2 * per)) + math.floor(ARGV[1] * per / ARGV[2]) \
    if at > now then redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000)) end \
    return at - now";

/// The script, by its name.
pub(super) struct Counting(Script);

impl Default for Counting {
    fn default() -> Self {
        Self(Script::new(ADD))
    }
}

impl Counting {
    /// One pipeline for each master, 64 names at a time.
    pub(super) async fn add(&self, masters: &Masters, counted: &[Counted]) -> Vec<Option<f64>> {
        let mut levels = Vec::with_capacity(counted.len());
        for some in counted.chunks(AT_ONCE) {
            levels.append(&mut self.add_some(masters, some).await);
        }
        levels
    }

    async fn add_some(&self, masters: &Masters, counted: &[Counted]) -> Vec<Option<f64>> {
        let map = masters.now();
        let mut bills: Vec<(Arc<Link>, Vec<usize>)> = Vec::new();
        let tags: Vec<String> = counted.iter().map(|one| tag(&one.name)).collect();
        for (place, tag) in tags.iter().enumerate() {
            let Some(link) = map.of(slot_of(tag)).filter(|link| link.is_up()) else { continue };
            match bills.iter_mut().find(|(other, _)| Arc::ptr_eq(other, link)) {
                Some((_, places)) => places.push(place),
                None => bills.push((Arc::clone(link), vec![place])),
            }
        }
        let mut levels = vec![None; counted.len()];
        let asked = bills.into_iter().map(|(link, places)| {
            let calls: Vec<Cmd> = places.iter().map(|at| self.call(&tags[*at], &counted[*at])).collect();
            async move { places.into_iter().zip(self.ask(&link, calls).await).collect::<Vec<_>>() }
        });
        for (place, late) in join_all(asked).await.into_iter().flatten() {
            let rate = counted[place].rate;
            let each = rate.per.as_micros() as f64 / f64::from(rate.count.max(1));
            levels[place] = late.map(|late| late.max(0) as f64 / each);
        }
        levels
    }

    /// What the calls answer, in their order; what Redis does not know by its name is sent again with the script.
    async fn ask(&self, link: &Link, calls: Vec<Cmd>) -> Vec<Option<i64>> {
        let mut commands = Pipeline::with_capacity(calls.len());
        for call in &calls {
            commands.add_command(call.clone());
        }
        let Ok(answers) = link.ask(&commands).await else { return vec![None; calls.len()] };
        let unknown: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].as_ref().is_err_and(no_script)).collect();
        let mut levels: Vec<Option<i64>> = answers.into_iter().map(number).collect();
        if unknown.is_empty() {
            return levels;
        }
        let mut commands = Pipeline::with_capacity(1 + unknown.len());
        commands.cmd("SCRIPT").arg("LOAD").arg(ADD);
        for at in &unknown {
            commands.add_command(calls[*at].clone());
        }
        if let Ok(answers) = link.ask(&commands).await {
            for (at, answer) in unknown.into_iter().zip(answers.into_iter().skip(1)) {
                levels[at] = number(answer);
            }
        }
        levels
    }

    fn call(&self, tag: &str, counted: &Counted) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(self.0.get_hash()).arg(1).arg(count_key(tag));
        let per = u64::try_from(counted.rate.per.as_micros()).unwrap_or(u64::MAX);
        call.arg(counted.count).arg(counted.rate.count.max(1)).arg(per);
        call
    }
}

fn number(answer: RedisResult<Value>) -> Option<i64> {
    redis::from_redis_value(answer.ok()?).ok()
}
