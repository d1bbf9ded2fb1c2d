//! What every part of the sandbox shares.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    alipay,
    calls::{Call, CallLog},
    cashier::{Bill, PayError},
    clock::Clock,
    faults::{FaultKind, Faults, Gateway},
    keys::Keys,
    ledger::Ledger,
    state::{State, Store},
    wechat_pay::{BillFiles, KeyMode},
};

/// How long an answer waits for a notification that is to come before it.
const NOTICE_WITHIN: Duration = Duration::from_secs(3);

/// The gateways, their payers and the faults that wait for them.
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Keys,
    pub(crate) store: Arc<Store>,
    pub(crate) faults: Faults,
    pub(crate) calls: CallLog,
    pub(crate) refund_delay: Duration,
    /// Base of the links to the cashier, without a slash at its end.
    pub(crate) public_url: String,
    /// Which keys WeChat Pay signs with.
    pub(crate) key_mode: Mutex<KeyMode>,
    /// Bills that may be downloaded.
    pub(crate) bill_files: BillFiles,
}

impl World {
    pub(crate) fn key_mode(&self) -> KeyMode {
        *self.key_mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_key_mode(&self, mode: KeyMode) {
        *self.key_mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Changes the state as of now, under its lock.
    pub(crate) fn change<T>(&self, act: impl FnOnce(&mut State, DateTime<Utc>) -> T) -> T {
        let now = self.clock.now();
        self.store.change(now, |state| act(state, now))
    }

    /// Reads the state as of now, under its lock.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut State, DateTime<Utc>) -> T) -> T {
        let now = self.clock.now();
        self.store.look(now, |state| look(state, now))
    }

    /// The payer pays the order of this number, whoever's it is. Merchants do not use a number with
    /// two gateways; were it so, WeChat Pay's order is meant here and below.
    pub(crate) fn pay(&self, number: &str) -> Result<(), PayError> {
        let fault = |gateway| self.faults.take(gateway, Call::Pay, Some(number));
        self.change(|state, now| {
            let journal = &mut state.journal;
            if state.wechat_pay.knows(number) {
                return state.wechat_pay.pay(number, fault(Gateway::WechatPay), now, journal);
            }
            if state.alipay.knows(number) {
                return state.alipay.pay(number, fault(Gateway::Alipay), now, journal);
            }
            Err(PayError::Unknown)
        })
    }

    /// What else follows from a call that took effect, before it is answered.
    pub(crate) async fn follow_up(&self, call: Call, fault: Option<FaultKind>, number: &str) {
        match fault {
            Some(FaultKind::LagMs(ms)) => self.faults.hide(number, later(self.clock.now(), ms)),
            Some(FaultKind::NoticeFirst) => {
                if call == Call::Open
                    && let Err(error) = self.pay(number)
                {
                    tracing::debug!(number, %error, "nobody could pay before the answer");
                }
                // The merchant may wait for the answer before it takes the notification.
                if tokio::time::timeout(NOTICE_WITHIN, self.settled()).await.is_err() {
                    tracing::debug!(number, "the notification was not taken before the answer");
                }
            }
            _ => {}
        }
    }

    /// The payer declines.
    pub(crate) fn decline(&self, number: &str) -> Result<(), PayError> {
        self.change(|state, now| match state.wechat_pay.decline(number, now) {
            Err(PayError::Unknown) => state.alipay.decline(number, now),
            done => done,
        })
    }

    /// What the cashier shows of an order, and the time. Looking is what Alipay calls scanning.
    pub(crate) fn bill(&self, number: &str) -> Option<(Bill, DateTime<Utc>)> {
        self.change(|state, now| {
            let bill = state.wechat_pay.bill(number, now).or_else(|| {
                state.alipay.scan(number, now);
                alipay::bill(state, self.keys.alipay(), number, now)
            })?;
            Some((bill, now))
        })
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.look(|state, _| state.journal.ledger.clone())
    }

    /// Turns the clock forward, if it can be turned. What falls due on the way happens at its time, one after
    /// another, so a day of repeated notifications takes as long as it takes to send them.
    pub(crate) async fn turn(&self, by: TimeDelta) -> Option<DateTime<Utc>> {
        let target = self.clock.now() + by;
        loop {
            self.settled().await;
            let next = self.look(|state, _| state.next_due()).filter(|next| *next < target);
            if !self.clock.turn_to(next.unwrap_or(target)) {
                return None;
            }
            self.store.changed.notify_one();
            if next.is_none() {
                self.settled().await;
                return Some(self.clock.now());
            }
        }
    }

    /// Returns once nothing is due and no notification is on its way.
    pub(crate) async fn settled(&self) {
        let is_settled = |store: &Store| {
            let now = self.clock.now();
            store.look(now, |state| state.journal.outbox.is_settled(now))
        };
        self.store.wait_until(is_settled).await;
    }
}

/// So many milliseconds from then; without overflow.
pub(crate) fn later(then: DateTime<Utc>, ms: u64) -> DateTime<Utc> {
    let pause = i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds);
    pause.and_then(|pause| then.checked_add_signed(pause)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
