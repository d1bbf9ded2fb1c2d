//! Customers, payers and staff, all at once: they order, pay, cancel, ask money back, send things twice and
//! lose patience.

use std::sync::Arc;

use futures_util::future::join;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{self, insist, send};
use crate::journal::{Heard, Journal, Known, Verb};
use crate::random::Random;
use crate::site::Site;

/// Clients at work; they stop when told to.
pub struct Load {
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl Load {
    /// Starts so many clients.
    pub fn start(site: &Arc<Site>, journal: &Arc<Journal>, random: &mut Random, clients: usize) -> Self {
        let stop = CancellationToken::new();
        let mut work = JoinSet::new();
        for customer in 0..clients {
            let client = Client { site: site.clone(), journal: journal.clone(), random: random.fork(), customer };
            work.spawn(client.live(stop.clone()));
        }
        Self { stop, work }
    }

    /// Waits until each has finished what it was doing.
    pub async fn stop(self) {
        self.stop.cancel();
        self.work.join_all().await;
    }
}

struct Client {
    site: Arc<Site>,
    journal: Arc<Journal>,
    random: Random,
    customer: usize,
}

impl Client {
    async fn live(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.random.below(100) {
                0..36 => self.create().await,
                36..46 => self.replay().await,
                46..66 => self.pay().await,
                66..76 => self.repay().await,
                76..80 => self.cancel().await,
                80..91 => self.refund().await,
                91..94 => self.sync().await,
                94..97 => self.other_content().await,
                _ => self.look().await,
            }
            tokio::time::sleep(self.random.millis(0, 10)).await;
        }
    }

    async fn create(&mut self) {
        let sku = *self.random.pick(&["TEA", "MUG", "BOOK", "PIN"]);
        let mut input = json!({"lines": [{"sku": sku, "quantity": 1 + self.random.below(3)}], "allowDuplicate": true});
        if self.random.chance(80) {
            input["payment"] = self.method();
        }
        let intent = self.journal.intend(self.customer, Verb::Create, input);
        if self.random.chance(10) {
            // An impatient finger, or a proxy that tries again.
            let one = send(&self.site, &self.journal, intent, intent);
            join(one, send(&self.site, &self.journal, intent, intent + 1)).await;
        }
        self.patiently(intent).await;
    }

    /// Sends an intent a few times; what stays without an answer is asked about at the end.
    async fn patiently(&mut self, intent: usize) {
        let pause = self.random.millis(20, 200);
        insist(&self.site, &self.journal, intent, 4, pause).await;
    }

    async fn replay(&mut self) {
        let intent = {
            let book = self.journal.book();
            let own = |n: &usize| book.intents[*n].customer == self.customer && book.intents[*n].sent > 0;
            let recent = book.intents.len().saturating_sub(200)..book.intents.len();
            let own: Vec<usize> = recent.filter(own).collect();
            if own.is_empty() { return } else { *self.random.pick(&own) }
        };
        let elsewhere = self.random.below(3) as usize;
        send(&self.site, &self.journal, intent, elsewhere).await;
    }

    async fn pay(&mut self) {
        let Some(order) = self.order(|k| !k.paid && k.payments.iter().any(|(_, s)| s == "PENDING" || s == "UNKNOWN"))
        else {
            return;
        };
        let open: Vec<_> = order.payments.iter().filter(|(_, s)| s != "SUCCEEDED").collect();
        let (payment, _) = self.random.pick(&open);
        if pay_at_cashier(&self.site, payment).await
            && let Some(known) = self.journal.book().orders.iter_mut().find(|k| k.order == order.order)
        {
            known.paid = true;
        }
    }

    async fn repay(&mut self) {
        let Some(order) = self.order(|k| !k.paid && ["PENDING_PAYMENT", "PAYING"].contains(&k.status.as_str())) else {
            return;
        };
        let input = json!({"orderId": order.order, "payment": self.method()});
        let intent = self.journal.intend(self.customer, Verb::Repay, input);
        self.patiently(intent).await;
    }

    async fn cancel(&mut self) {
        let Some(order) = self.order(|k| k.status != "CLOSED") else { return };
        let intent = self.journal.intend(self.customer, Verb::Cancel, json!({"orderId": order.order}));
        self.patiently(intent).await;
    }

    async fn refund(&mut self) {
        let Some(order) = self.order(|k| k.paid) else { return };
        let mut input = json!({"orderId": order.order, "reason": "CUSTOMER_REQUEST"});
        if self.random.chance(70) {
            input["amount"] = json!({"minor": (1 + self.random.below(2_000)).to_string(), "currency": "CNY"});
        }
        let intent = self.journal.intend(self.customer, Verb::Refund, input);
        self.patiently(intent).await;
    }

    async fn sync(&mut self) {
        let Some(order) = self.order(|_| true) else { return };
        sync(&self.site, order.customer, &order.order, self.random.below(3) as usize).await;
    }

    /// A key that was answered, with other content: never anything but MISMATCH.
    async fn other_content(&mut self) {
        let known = {
            let book = self.journal.book();
            let answered = |n: &usize| {
                let i = &book.intents[*n];
                i.customer == self.customer && i.verb == Verb::Create && i.ids.is_some()
            };
            let recent = book.intents.len().saturating_sub(100)..book.intents.len();
            let answered: Vec<usize> = recent.filter(answered).collect();
            if answered.is_empty() { return } else { *self.random.pick(&answered) }
        };
        let (token, mut body) = client::prepare(&self.site, &self.journal, known);
        body = body.replace("\"allowDuplicate\":true", "\"allowDuplicate\":true,\"note\":\"another\"");
        let heard = client::post(&self.site, self.random.below(3) as usize, &token, body).await;
        let fine = match &heard {
            Heard::Refused(code) => code == "IDEMPOTENCY_KEY_MISMATCH",
            Heard::Again(_) | Heard::Nothing => true,
            Heard::Payload(_) => false,
        };
        if !fine {
            let key = self.journal.book().intents[known].key().to_owned();
            self.journal.accuse(format!("other content under the answered key {key} got {heard:?}"));
        }
    }

    /// What was shown once is not taken back: versions only rise.
    async fn look(&mut self) {
        let Some(order) = self.order(|_| true) else { return };
        let document = "query($id: ID!) { order(id: $id) { id status version } }";
        let body = json!({"query": document, "variables": {"id": order.order}}).to_string();
        let token = self.site.customer(self.customer);
        if let Heard::Payload(shown) = client::post(&self.site, self.random.below(3) as usize, token, body).await
            && shown["version"].as_i64().is_some_and(|version| version < order.version)
        {
            self.journal.accuse(format!("{} was at version {}, and is shown as {shown}", order.order, order.version));
        }
    }

    fn order(&mut self, fits: impl Fn(&Known) -> bool) -> Option<Known> {
        let book = self.journal.book();
        let own = book.orders.iter().rev().filter(|k| k.customer == self.customer).take(25);
        let fitting: Vec<&Known> = own.filter(|k| fits(k)).collect();
        if fitting.is_empty() { None } else { Some((*self.random.pick(&fitting)).clone()) }
    }

    fn method(&mut self) -> serde_json::Value {
        let ways = [("WECHAT_PAY", "NATIVE"), ("WECHAT_PAY", "NATIVE"), ("WECHAT_PAY", "APP"), ("ALIPAY", "PRECREATE")];
        let (gateway, product) = *self.random.pick(&ways);
        json!({"gateway": gateway, "product": product})
    }
}

/// The payer looks at the page of the cashier and pays; false when it does not let them.
pub async fn pay_at_cashier(site: &Site, payment: &str) -> bool {
    let page = format!("{}/cashier/{payment}", site.sandbox);
    // Alipay knows an order only once it was looked at.
    let looked = site.http.get(&page).send().await;
    looked.is_ok() && site.http.post(format!("{page}/pay")).send().await.is_ok_and(|shown| shown.status().is_success())
}

/// The page that a payer comes back to asks what became of it.
pub async fn sync(site: &Site, customer: usize, order: &str, process: usize) {
    let body = json!({"query": "mutation($id: ID!) { syncOrder(orderId: $id) { id } }", "variables": {"id": order}});
    client::post(site, process, site.customer(customer), body.to_string()).await;
}
