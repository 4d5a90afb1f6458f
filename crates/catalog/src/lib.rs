//! What exists: the servers in their order, the endpoints that serve them, the names under which clients see their
//! tools, prompts and resources, and how several servers' lists become one.
//!
//! Nothing here does I/O. A [`Catalog`] is one immutable snapshot; a reload makes a new one.

mod settings;

pub use settings::{Pick, PromptChoice, ResourceChoice, ToolChoice, ToolsetSettings, UriPick};
