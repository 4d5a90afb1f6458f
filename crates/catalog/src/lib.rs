//! What exists: the servers in their order, the endpoints that serve them, the names under which clients see their
//! tools, prompts and resources, and how several servers' lists become one.
//!
//! Nothing here does I/O. A [`Catalog`] is one immutable snapshot; a reload makes a new one.

mod caching;
mod cursor;
mod definition;
mod endpoint;
mod known;
mod list;
mod mirrored;
pub mod names;
mod settings;
pub mod uris;

pub use caching::Caching;
pub use cursor::MergedCursor;
pub use endpoint::{Catalog, CatalogError, Endpoint, Named, Shape};
pub use known::{Known, KnownServer, KnownToolset, Published, ServerFacts, ToolDefinition, ToolFacts};
pub use list::{Exposure, Item, ListKind, NotAList, Page, may_need_fitting};
pub use mirrored::{InvalidMirror, Mirrored, mirrored};
pub use settings::{Pick, PromptChoice, ResourceChoice, ToolChoice, ToolsetSettings, UriPick};
