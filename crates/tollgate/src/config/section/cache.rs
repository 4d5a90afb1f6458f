//! What servers have said, kept for a while.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::keys;
use crate::config::meaning::defaults;

/// How long what servers have said is kept, so that they need not be asked again. What is kept is no wider seen than what is
/// asked for: policies and blocks are applied each time, and what a server does not call everyone's is the caller's alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<CacheSection>()))]
#[schemars(rename = "Cache")]
pub(in crate::config) struct CacheSection {
    /// Whether anything is kept.
    #[schemars(extend("default" = defaults::proxy().cache.enabled))]
    pub(in crate::config) enabled: Option<bool>,
    /// How much memory it may take, in bytes. When it is full, whichever tenant has most loses what it used longest ago.
    #[schemars(range(min = 65_536, max = 1_099_511_627_776_u64), extend("default" = defaults::proxy().cache.bytes_max))]
    pub(in crate::config) bytes_max: Option<usize>,
    /// The largest answer that is kept, in bytes.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = defaults::proxy().cache.entry_bytes_max))]
    pub(in crate::config) entry_bytes_max: Option<usize>,
    /// How long a list is kept at most, however long its server lets it be (`ttlMs`), in milliseconds.
    #[schemars(range(max = 604_800_000), extend("default" = defaults::ms(defaults::proxy().cache.list_ttl_max)))]
    pub(in crate::config) list_ttl_ms_max: Option<u64>,
    /// How long a list is kept of a server that says nothing of that, as those of the legacy era, but tells when the list
    /// changes (`listChanged`), in milliseconds. 0 keeps none.
    #[schemars(range(max = 604_800_000), extend("default" = defaults::ms(defaults::proxy().cache.list_ttl)))]
    pub(in crate::config) list_ttl_ms: Option<u64>,
    /// How long a resource that was read is kept at most, however long its server lets it be, in milliseconds.
    #[schemars(range(max = 604_800_000), extend("default" = defaults::ms(defaults::proxy().cache.read_ttl_max)))]
    pub(in crate::config) read_ttl_ms_max: Option<u64>,
    /// For how long beyond its time a list or a resource stands in where its server cannot be asked, in milliseconds. The
    /// client is told (`dev.tollgate/stale` in `_meta`).
    #[schemars(range(max = 604_800_000), extend("default" = defaults::ms(defaults::proxy().cache.stale_max)))]
    pub(in crate::config) stale_ms_max: Option<u64>,
}

/// What is kept of one server, where that is otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ServerCacheSection>()))]
#[schemars(rename = "ServerCache")]
pub(in crate::config) struct ServerCacheSection {
    /// Whether anything of it is kept. Default: `cache.enabled`.
    pub(in crate::config) enabled: Option<bool>,
    /// How long its lists are kept where it does not say how long they may be, in milliseconds, whether it tells of changes or
    /// not. Default: `cache.list_ttl_ms` if it tells of changes, else not at all.
    #[schemars(range(max = 604_800_000))]
    pub(in crate::config) list_ttl_ms: Option<u64>,
    /// How long its resources are kept once they were read, where it does not say how long they may be, in milliseconds.
    /// Without it none are.
    #[schemars(range(max = 604_800_000))]
    pub(in crate::config) read_ttl_ms: Option<u64>,
    /// For how long beyond its time a list or a resource stands in where it cannot be asked, in milliseconds. Default:
    /// `cache.stale_ms_max`.
    #[schemars(range(max = 604_800_000))]
    pub(in crate::config) stale_ms_max: Option<u64>,
}
