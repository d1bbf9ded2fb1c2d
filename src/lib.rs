//! Payonce: a GraphQL backend-for-frontend for payments.
//!
//! A mutation takes effect at most once, however often it is sent, and what the gateway did is never
//! lost. `ARCHITECTURE.md` has the map; the table of who may import whom is held by a test.

/// Points at which the fault harness lets a process die.
#[macro_use]
mod crash;

/// The only place that knows every room.
pub mod app;
/// File and environment to a typed `Config`.
pub mod config;
/// Door out: Redis, or in-process: locks, wake-ups, counters; only what we can afford to lose.
pub mod coordination;
/// Door out: one folder per payment provider, and the registry.
pub mod gateways;
/// Door in: caller, schema, views.
pub mod graphql;
/// Door in: router, limits, tokens, sockets, health, pages, notifications.
pub mod http;
/// The workflows: one file per verb, the guard around them, the scheduler behind them.
pub mod payments;
/// Door out: the event table to RabbitMQ and to a webhook.
pub mod relay;
/// Door out: SQL. The judge.
pub mod store;
