//! The targets of fuzz/: every file of their corpora, and a few seconds of mutations of them. The long form is
//! `make fuzz`; no coverage guides it.
//!
//! `FUZZ_SECONDS=300 cargo test --test it -- fuzz_corpora --nocapture` goes on for longer; `FUZZ_SEED` begins
//! elsewhere. What breaks a promise is written into the target's corpus, and stays there once it is mended.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use targets::TARGETS;

/// Text that means something to one of the targets.
const WORDS: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    "=",
    "!",
    "$",
    "@",
    "...",
    "\"",
    "\"\"\"",
    "\\u0000",
    "\\",
    "#",
    ",",
    "\n",
    "\0",
    "&",
    "%",
    "%25",
    "query ",
    "mutation ",
    "subscription ",
    "fragment F on Query ",
    "...F ",
    "on ",
    "true",
    "null",
    "-0",
    "1e9",
    "9223372036854775808",
    "{\"a\":1,\"b\":null}",
    "id",
    "amount",
    "trade_state",
    "SUCCESS",
    "total_amount=",
    "notify_id=x",
    "trade_status=TRADE_SUCCESS",
    "refund_status",
    "\u{feff}",
    "é",
    "\u{1f600}",
    "_-",
    "AAAAAAAAAAAAAAAA",
];

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    /// One to four small changes.
    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            let until = (at + 1 + self.below(8)).min(data.len());
            match self.below(6) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 => drop(data.drain(at.min(until)..until)),
                2 => {
                    let word = WORDS[self.below(WORDS.len())].as_bytes();
                    let times = 1 + self.below(3) * self.below(20);
                    data.splice(at..at, word.repeat(times));
                }
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    data.truncate(at);
                    data.extend_from_slice(&other[from..]);
                }
                4 => {
                    let again = data[at.min(until)..until].to_vec();
                    data.splice(at..at, again);
                }
                _ => data.insert(at, self.below(256) as u8),
            }
        }
        data
    }
}

#[test]
fn promises_hold_for_the_corpora_and_what_is_like_them() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let each = Duration::from_secs(given("FUZZ_SECONDS").unwrap_or(5)) / TARGETS.len() as u32;
    let seed = given("FUZZ_SEED").unwrap_or(1);
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        seeds.iter().for_each(|data| target(data));
        let mut chance = Chance(seed);
        let (began, mut runs) = (Instant::now(), 0_u64);
        while began.elapsed() < each {
            let data = chance.changed(&seeds);
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                let file = corpus(name).join(format!("broke-{seed}-{runs}"));
                std::fs::write(&file, &data).unwrap();
                panic!("{name}: {}", file.display());
            }
            runs += 1;
        }
        println!("{name}: {runs} runs, nothing broke");
    }
}
