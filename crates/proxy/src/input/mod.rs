//! What a server asks of a client while it serves a request: sampling, elicitation, roots.
//!
//! A legacy server sends requests of its own and waits for their answers; a modern one answers `input_required` and
//! expects the same request again with the answers in it (2026-07-28, multi round-trip requests). Each is made of the
//! other:
//!
//! | server | client | what happens |
//! |---|---|---|
//! | legacy | legacy | the server's request goes to the client, under an id of the gateway's ([`Asking`]) |
//! | legacy | modern | the call is parked ([`ParkedCalls`]), the client gets `input_required`, its retry takes the call up again |
//! | modern | legacy | the gateway asks the client and sends the server the next round ([`rounds`]) |
//! | modern | modern | the result passes; only the server's state travels in an envelope ([`state`]) |
//!
//! A client is asked only for what it has declared, and is told which server asks.

mod asked;
mod asking;
mod later;
mod owed;
mod parked;
mod pass;
mod questions;
mod retry;
mod rounds;
mod state;

pub(crate) use asked::{Asked, Missing};
pub(crate) use asking::{Asker, Asking, Bounds, ask_beside, failed, refuse_question};
pub(crate) use later::{Later, interrupted, requests};
pub(crate) use owed::Owed;
pub(crate) use parked::{ParkedCalls, Paused, Standing, park, take_up};
pub(crate) use pass::{asks_for_input, pass, urls};
pub(crate) use questions::Questions;
pub(crate) use retry::{Brought, Retry, check_responses};
pub(crate) use rounds::{Opened, answers_to, drive};
pub(crate) use state::{State, seal};
