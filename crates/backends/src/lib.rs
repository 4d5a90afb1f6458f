//! Where what must outlive the process lives: SQLite in the data directory, or PostgreSQL.
//!
//! Both are one driver: the repositories are written once (`repositories`), in SQL that both understand. What differs is how
//! a connection is made (`sqlite`, `postgres`) and how it hears of news. What gateways count together on the way of a call is in
//! Valkey or Redis (`together`).

mod bounds;
mod connections;
mod database;
mod error;
mod migrations;
mod place;
mod postgres;
mod repositories;
mod sqlite;
mod together;

pub use bounds::Bounds;
pub use database::open;
pub use place::{InvalidPlace, Place};
pub use together::Redis;
