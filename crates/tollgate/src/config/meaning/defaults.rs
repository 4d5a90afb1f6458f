//! What holds where a configuration is silent. The crates that use the settings own their defaults; here they are only
//! named, so that the schema shows the same ones.

use std::time::Duration;

use tollgate_admin::AdminSettings;
use tollgate_approvals::ApprovalSettings;
use tollgate_guard::Bound;
use tollgate_guard::outside::OutsideSettings;
use tollgate_identity::{IdentitySettings, IssuerSettings};
use tollgate_ledger::export::{FileSettings, Pace, SyslogSettings};
use tollgate_ledger::{IndexSettings, LedgerSettings};
use tollgate_limits::{LimitSettings, RunawaySettings};
use tollgate_proxy::ProxySettings;
use tollgate_store::FollowerSettings;
use tollgate_upstream::{CircuitSettings, HealthSettings, Limits, OutlierSettings, RetrySettings, Timeouts};

/// Where the data plane listens.
pub(in crate::config) const LISTEN: &str = "127.0.0.1:8080";
/// Where the admin listener listens.
pub(in crate::config) const ADMIN_LISTEN: &str = "127.0.0.1:8081";

pub(in crate::config) fn guard_bound() -> Bound {
    Bound::default()
}

pub(in crate::config) fn external_guard() -> OutsideSettings {
    OutsideSettings::new("", "")
}

pub(in crate::config) fn proxy() -> ProxySettings {
    ProxySettings::default()
}

pub(in crate::config) fn admin() -> AdminSettings {
    AdminSettings::default()
}

pub(in crate::config) fn identity() -> IdentitySettings {
    IdentitySettings::default()
}

pub(in crate::config) fn issuer() -> IssuerSettings {
    IssuerSettings::new("")
}

pub(in crate::config) fn timeouts() -> Timeouts {
    Timeouts::default()
}

pub(in crate::config) fn retries() -> RetrySettings {
    RetrySettings::default()
}

pub(in crate::config) fn server_limits() -> Limits {
    Limits::for_sessions()
}

pub(in crate::config) fn circuit() -> CircuitSettings {
    CircuitSettings::default()
}

pub(in crate::config) fn outliers() -> OutlierSettings {
    OutlierSettings::default()
}

pub(in crate::config) fn health() -> HealthSettings {
    HealthSettings::default()
}

pub(in crate::config) fn approvals() -> ApprovalSettings {
    ApprovalSettings::default()
}

pub(in crate::config) fn runaway() -> RunawaySettings {
    RunawaySettings::default()
}

pub(in crate::config) fn limits() -> LimitSettings {
    LimitSettings::default()
}

pub(in crate::config) const ROTATE_BYTES: u64 = FileSettings::ROTATE_BYTES;
pub(in crate::config) const FACILITY: u8 = SyslogSettings::FACILITY;
pub(in crate::config) const SD_ID: &str = SyslogSettings::SD_ID;
pub(in crate::config) const MESSAGE_BYTES_MAX: usize = SyslogSettings::MESSAGE_BYTES_MAX;

pub(in crate::config) fn pace() -> Pace {
    Pace::default()
}

pub(in crate::config) fn ledger() -> LedgerSettings {
    LedgerSettings::default()
}

/// How long one try of sending telemetry may take.
pub(in crate::config) fn otlp_timeout_ms() -> u64 {
    ms(tollgate_telemetry::otlp::Endpoint::TIMEOUT)
}

pub(in crate::config) fn index() -> IndexSettings {
    IndexSettings::default()
}

/// An age in days.
pub(in crate::config) fn days(age: Duration) -> u64 {
    age.as_secs() / 86_400
}

/// How long state may be used that the store does not confirm.
pub(in crate::config) fn stale_max_ms() -> u64 {
    FollowerSettings::default().stale_max.map_or(0, ms)
}

/// A wait in milliseconds.
pub(in crate::config) fn ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
