//! Notifications that have not reached their merchants yet.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{alipay, faults::Gateway, wechat_pay};

/// One notification, kept until the merchant takes it or its schedule ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// The same on every repetition.
    pub(crate) id: String,
    /// The merchant's number of the payment or refund it is about.
    pub(crate) number: String,
    pub(crate) url: String,
    pub(crate) created_at: DateTime<Utc>,
    /// When it is to be sent, the next time.
    pub(crate) due_at: DateTime<Utc>,
    /// How often it was sent and not taken.
    pub(crate) failures: usize,
    pub(crate) content: Content,
}

/// What a notification says, in the terms of its gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    WechatPay(wechat_pay::Event),
    Alipay(alipay::Event),
}

impl Content {
    pub(crate) fn gateway(&self) -> Gateway {
        match self {
            Self::WechatPay(_) => Gateway::WechatPay,
            Self::Alipay(_) => Gateway::Alipay,
        }
    }

    /// The pauses before the repetitions.
    fn pauses(&self) -> &'static [i64] {
        match self {
            Self::WechatPay(_) => &wechat_pay::PAUSES_S,
            Self::Alipay(_) => &alipay::PAUSES_S,
        }
    }
}

/// Waiting letters by id, and when each is due. A letter that is on its way is not due, but stays
/// here: after a crash it is sent again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outbox {
    letters: BTreeMap<String, Letter>,
    #[serde(skip)]
    due: BTreeSet<(DateTime<Utc>, String)>,
    /// Letters that let another one go first.
    #[serde(skip)]
    held: BTreeSet<String>,
}

impl Outbox {
    pub(crate) fn put(&mut self, letter: Letter) {
        self.due.insert((letter.due_at, letter.id.clone()));
        self.letters.insert(letter.id.clone(), letter);
    }

    /// After reading from disk: nothing is on its way.
    pub(crate) fn restore(&mut self) {
        let due = self.letters.values();
        self.due = due.map(|letter| (letter.due_at, letter.id.clone())).collect();
    }

    /// Hands out what is due; each must come back by `taken`, `not_taken` or `put`.
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>) -> Vec<Letter> {
        let mut letters = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.due.pop_first() else {
                break;
            };
            letters.extend(self.letters.get(&id).cloned());
        }
        letters
    }

    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether nothing is due at `now` and nothing is on its way.
    pub(crate) fn is_settled(&self, now: DateTime<Utc>) -> bool {
        self.letters.len() == self.due.len() + self.held.len() && self.next_due().is_none_or(|at| at > now)
    }

    /// It is due again once another one has been sent.
    pub(crate) fn hold(&mut self, id: &str) {
        self.held.insert(id.to_owned());
    }

    fn release(&mut self) {
        for id in std::mem::take(&mut self.held) {
            let letter = self.letters.get(&id);
            self.due.extend(letter.map(|letter| (letter.due_at, id)));
        }
    }

    pub(crate) fn taken(&mut self, id: &str) {
        self.letters.remove(id);
        self.release();
    }

    /// Sets the next time of the schedule; after the last one, gives the letter up.
    pub(crate) fn not_taken(&mut self, id: &str, now: DateTime<Utc>) {
        self.release();
        let Some(letter) = self.letters.get_mut(id) else {
            return;
        };
        let Some(pause) = letter.content.pauses().get(letter.failures) else {
            self.letters.remove(id);
            return;
        };
        letter.failures += 1;
        letter.due_at = now + TimeDelta::seconds(*pause);
        self.due.insert((letter.due_at, letter.id.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        with(Content::WechatPay(wechat_pay::Event::default()))
    }

    fn with(content: Content) -> Letter {
        Letter {
            id: "EV-1".to_owned(),
            number: "ORDER-1".to_owned(),
            url: "http://shop.example/notify".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            due_at: DateTime::UNIX_EPOCH,
            failures: 0,
            content,
        }
    }

    #[test]
    fn a_letter_nobody_takes_is_sent_sixteen_times_in_about_a_day_and_then_given_up() {
        let mut outbox = Outbox::default();
        outbox.put(letter());
        let mut sent = Vec::new();
        while let Some(now) = outbox.next_due() {
            assert_eq!(outbox.take_due(now).len(), 1);
            sent.push((now - DateTime::UNIX_EPOCH).num_seconds());
            outbox.not_taken("EV-1", now);
        }
        assert_eq!(sent.len(), 16);
        assert_eq!(sent[..5], [0, 15, 30, 60, 240]);
        assert_eq!(sent[15], 86_640, "24 h 4 min");
        assert!(outbox.letters.is_empty());
    }

    #[test]
    fn a_letter_of_alipay_is_sent_eight_times_in_about_25_hours() {
        let mut outbox = Outbox::default();
        outbox.put(with(Content::Alipay(alipay::Event::default())));
        let mut sent = Vec::new();
        while let Some(now) = outbox.next_due() {
            outbox.take_due(now);
            sent.push((now - DateTime::UNIX_EPOCH).num_minutes());
            outbox.not_taken("EV-1", now);
        }
        assert_eq!(sent, [0, 4, 14, 24, 84, 204, 564, 1464]);
    }

    #[test]
    fn a_letter_that_lets_another_one_go_first_comes_behind_it() {
        let (mut outbox, now) = (Outbox::default(), DateTime::UNIX_EPOCH);
        outbox.put(letter());
        outbox.take_due(now);
        outbox.hold("EV-1");
        assert!(outbox.is_settled(now), "it waits for another one, not for its time");
        outbox.put(Letter { id: "EV-2".to_owned(), ..letter() });
        assert_eq!(outbox.take_due(now)[0].id, "EV-2");
        outbox.taken("EV-2");
        assert_eq!(outbox.take_due(now)[0].id, "EV-1");
    }

    #[test]
    fn a_letter_on_its_way_is_not_due_but_due_again_after_a_restart() {
        let mut outbox = Outbox::default();
        outbox.put(letter());
        assert!(!outbox.is_settled(DateTime::UNIX_EPOCH), "due");
        outbox.take_due(DateTime::UNIX_EPOCH);
        assert_eq!(outbox.next_due(), None);
        assert!(!outbox.is_settled(DateTime::UNIX_EPOCH), "on its way");

        let kept = serde_json::to_string(&outbox).expect("text");
        let mut restarted: Outbox = serde_json::from_str(&kept).expect("the same");
        restarted.restore();
        assert_eq!(restarted.take_due(DateTime::UNIX_EPOCH), [letter()]);
        restarted.taken("EV-1");
        assert!(restarted.is_settled(DateTime::UNIX_EPOCH));
        assert!(restarted.letters.is_empty());
    }
}
