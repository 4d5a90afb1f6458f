//! Who is calling: real clients and a real identity provider, and everybody who pretends to be somebody else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

mod belongings;
mod certificates;
mod flows;
mod issuers;
mod load;
mod scopes;
mod stored;
mod taken_back;
mod tenants;
mod tokens;
