//! A client of GraphQL over SSE.

use serde_json::{Value, json};

use super::Shop;

pub struct EventStream {
    response: reqwest::Response,
    read: String,
}

/// One event of a stream: its name and its data.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

impl EventStream {
    /// Asks for a stream by POST; an empty token is nobody's.
    pub async fn open(shop: &Shop, token: &str, document: &str, variables: Value) -> EventStream {
        let body = json!({"query": document, "variables": variables}).to_string();
        let mut request = shop
            .http()
            .post(shop.url("/graphql"))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(body);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        EventStream::of(request.send().await.unwrap())
    }

    pub fn of(response: reqwest::Response) -> EventStream {
        EventStream { response, read: String::new() }
    }

    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The next event; `None`: the stream is over. Comments are passed over.
    pub async fn next(&mut self) -> Option<Event> {
        let heard = tokio::time::timeout(std::time::Duration::from_secs(10), self.listen()).await;
        heard.expect("nothing heard within ten seconds")
    }

    /// The same, however long it takes.
    pub async fn listen(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let block: String = self.read.drain(..end + 2).collect();
                let field = |name: &str| {
                    let mut lines = block.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
                    lines.next().map(|v| v.trim_start().to_owned())
                };
                if let (Some(name), Some(data)) = (field("event"), field("data")) {
                    return Some(Event { name, data });
                }
                continue;
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.read.push_str(std::str::from_utf8(&bytes).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The response in the next event.
    pub async fn response(&mut self) -> Value {
        let event = self.next().await.expect("the stream is over");
        assert_eq!(event.name, "next", "{event:?}");
        serde_json::from_str(&event.data).unwrap()
    }
}
