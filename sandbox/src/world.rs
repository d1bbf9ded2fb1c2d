//! What every part of the sandbox shares.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    alipay,
    calls::CallLog,
    cashier::{Bill, PayError},
    clock::Clock,
    faults::Faults,
    keys::Keys,
    ledger::Ledger,
    state::{State, Store},
    wechat_pay::{BillFiles, KeyMode},
};

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
        self.change(|state, now| match state.wechat_pay.pay(number, now, &mut state.journal) {
            Err(PayError::Unknown) => state.alipay.pay(number, now, &mut state.journal),
            done => done,
        })
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

    /// Returns once nothing is due and no notification is on its way.
    pub(crate) async fn settled(&self) {
        let is_settled = |store: &Store| {
            let now = self.clock.now();
            store.look(now, |state| state.journal.outbox.is_settled(now))
        };
        self.store.wait_until(is_settled).await;
    }
}
