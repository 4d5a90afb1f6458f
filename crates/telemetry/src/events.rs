//! Everything that an operator may want to know, one struct per event. `emit()` writes the log line and counts.

mod calls;
mod guards;
mod limits;
mod pins;
mod schemas;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tollgate_model::{Decision, Principal, Refusal, Revision, ServerId, ServerName, Source, TenantId, Why};
use tracing::{debug, error, info, warn};

pub use self::calls::{CallEnded, HopEnded, TelemetryNotSent, TelemetrySentAgain};
pub use self::guards::{GuardAsked, GuardFound, GuardUnavailable};
pub use self::limits::{
    AgentPaused, AgentResumed, AlertLost, AllowancesAway, AllowancesBack, BudgetShareUsed, LimitReached,
    PauseNotStored, ServerBusy, SharedCountersAway, SharedCountersBack, TriedAgain,
};
pub use self::pins::PinTurned;
pub use self::schemas::SchemaFault;
use crate::trace::TraceId;
use crate::{Clean, bare_uri, counters};

/// A listener is open.
#[derive(Debug)]
pub struct ListenerBound {
    /// What it serves: `data plane` or `admin`.
    pub plane: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl ListenerBound {
    /// Logs it.
    pub fn emit(self) {
        info!(plane = self.plane, address = %self.address, tls = self.tls, "listening");
    }
}

/// A connection could not be accepted, as when the process has no file descriptor left.
#[derive(Debug)]
pub struct AcceptFailed<'a> {
    /// Which listener.
    pub plane: &'static str,
    /// What the operating system said.
    pub error: &'a std::io::Error,
}

impl AcceptFailed<'_> {
    /// Logs it.
    pub fn emit(self) {
        error!(plane = self.plane, error = %self.error, "cannot accept connections; trying again shortly");
    }
}

/// A client's connection ended in an error before or between requests.
#[derive(Debug)]
pub struct ConnectionFailed<'a> {
    /// Which listener.
    pub plane: &'static str,
    /// Who was connected.
    pub peer: SocketAddr,
    /// What went wrong.
    pub reason: &'a str,
}

impl ConnectionFailed<'_> {
    /// Logs it.
    pub fn emit(self) {
        debug!(plane = self.plane, peer = %self.peer, reason = %Clean(self.reason), "connection ended");
    }
}

/// A certificate was read again after its files changed.
#[derive(Debug)]
pub struct CertificateReloaded<'a> {
    /// Which listener.
    pub plane: &'static str,
    /// Why the new files cannot be used; the old certificate stays.
    pub failure: Option<&'a str>,
}

impl CertificateReloaded<'_> {
    /// Logs it.
    pub fn emit(self) {
        match self.failure {
            None => info!(plane = self.plane, "certificate reloaded"),
            Some(reason) => warn!(plane = self.plane, reason, "certificate not reloaded; the old one stays"),
        }
    }
}

/// A server answered and can be used.
#[derive(Debug)]
pub struct ServerUp<'a> {
    /// Which server.
    pub server: &'a ServerId,
    /// The revision that it and the gateway agreed on.
    pub revision: Revision,
}

impl ServerUp<'_> {
    /// Logs it.
    pub fn emit(self) {
        info!(server = %self.server.label(), revision = %self.revision, "server is up");
    }
}

/// A server cannot be used.
#[derive(Debug)]
pub struct ServerDown<'a> {
    /// Which server.
    pub server: &'a ServerId,
    /// Why, with the detail that callers are not told.
    pub reason: &'a str,
}

impl ServerDown<'_> {
    /// Logs it.
    pub fn emit(self) {
        warn!(server = %self.server.label(), reason = %Clean(self.reason), "server is down");
    }
}

/// A replica of a server, or its only one, is left alone for a while.
#[derive(Debug)]
pub struct ReplicaEjected<'a> {
    /// Which server.
    pub server: &'a ServerId,
    /// Which replica.
    pub replica: &'a str,
    /// Whether there is no other: then nothing of the server can be used meanwhile.
    pub alone: bool,
    /// Why, with the detail that callers are not told.
    pub reason: &'a str,
}

impl ReplicaEjected<'_> {
    /// Logs it.
    pub fn emit(self) {
        warn!(
            server = %self.server.label(), replica = self.replica, alone = self.alone, reason = %Clean(self.reason),
            "a replica is left alone"
        );
    }
}

/// A replica that was left alone is used again.
#[derive(Debug)]
pub struct ReplicaReturned<'a> {
    /// Which server.
    pub server: &'a ServerId,
    /// Which replica.
    pub replica: &'a str,
    /// Whether there is no other.
    pub alone: bool,
}

impl ReplicaReturned<'_> {
    /// Logs it.
    pub fn emit(self) {
        info!(server = %self.server.label(), replica = self.replica, alone = self.alone, "a replica is used again");
    }
}

/// A line that a server's process wrote to its standard error.
#[derive(Debug)]
pub struct ChildStderr<'a> {
    /// Which server.
    pub server: &'a ServerId,
    /// Which of its processes.
    pub process: i32,
    /// The line, without its end.
    pub line: &'a str,
    /// Whether the line was longer.
    pub cut: bool,
}

impl ChildStderr<'_> {
    /// Logs it.
    pub fn emit(self) {
        let (server, process, cut) = (self.server.label(), self.process, self.cut);
        info!(target: "tollgate::stderr", %server, process, cut, "{}", Clean(self.line));
    }
}

/// The configuration was read again.
#[derive(Debug)]
pub struct ConfigReloaded<'a> {
    /// Where it was read from.
    pub path: &'a str,
    /// How many servers it names.
    pub servers: usize,
}

impl ConfigReloaded<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::reload(true);
        info!(path = %Clean(self.path), servers = self.servers, "configuration reloaded");
    }
}

/// A changed configuration cannot be used; the last good one stays.
#[derive(Debug)]
pub struct ConfigRejected<'a> {
    /// Where it was read from.
    pub path: &'a str,
    /// What is wrong, with line and column.
    pub reason: &'a str,
}

impl ConfigRejected<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::reload(false);
        let (path, reason) = (Clean(self.path), Clean(self.reason));
        error!(%path, %reason, "configuration not reloaded; the last good one stays");
    }
}

/// A part of a changed configuration takes effect only after a restart.
#[derive(Debug)]
pub struct RestartNeeded {
    /// Which setting.
    pub setting: &'static str,
}

impl RestartNeeded {
    /// Logs it.
    pub fn emit(self) {
        warn!(setting = self.setting, "this change takes effect after a restart");
    }
}

/// Nothing says who may call, so only this machine can.
#[derive(Debug)]
pub struct NoIdentity;

impl NoIdentity {
    /// Logs it.
    pub fn emit(self) {
        warn!("no identity is configured: serving this machine (loopback) only");
    }
}

/// The configuration says that nothing is recorded.
#[derive(Debug)]
pub struct NothingRecorded;

impl NothingRecorded {
    /// Logs it.
    pub fn emit(self) {
        warn!("the ledger is switched off: nothing that passes is recorded");
    }
}

/// The ledger cannot be written.
#[derive(Debug)]
pub struct LedgerDown<'a> {
    /// What the system said.
    pub reason: &'a str,
}

impl LedgerDown<'_> {
    /// Logs it.
    pub fn emit(self) {
        error!(reason = self.reason, "the ledger cannot be written");
    }
}

/// The ledger can be written again.
#[derive(Debug)]
pub struct LedgerUp;

impl LedgerUp {
    /// Logs it.
    pub fn emit(self) {
        info!("the ledger can be written again");
    }
}

/// No new segment of the ledger can begin.
#[derive(Debug)]
pub struct LedgerStuck<'a> {
    /// What the system said.
    pub reason: &'a str,
}

impl LedgerStuck<'_> {
    /// Logs it.
    pub fn emit(self) {
        error!(
            reason = self.reason,
            "no new segment of the ledger can begin; the one that is there grows on"
        );
    }

    /// Logs that one could.
    pub fn is_over() {
        info!("a new segment of the ledger has begun");
    }
}

/// The disk did not take entries that were said to be written.
#[derive(Debug)]
pub struct LedgerUnsynced<'a> {
    /// What the system said.
    pub reason: &'a str,
    /// The number of the first.
    pub first_seq: u64,
    /// The number of the last.
    pub last_seq: u64,
}

impl LedgerUnsynced<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { reason, first_seq, last_seq } = self;
        error!(
            reason,
            first_seq,
            last_seq,
            "the disk did not take entries of the ledger; they may be lost with the power"
        );
    }
}

/// At the end of what a process left behind stand entries that it would have signed.
#[derive(Debug)]
pub struct LedgerUnsigned<'a> {
    /// The writer's folder.
    pub folder: &'a std::path::Path,
    /// The number of the first.
    pub first_seq: u64,
    /// The number of the last.
    pub last_seq: u64,
    /// The time between the two.
    pub spans: Duration,
}

impl LedgerUnsigned<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { folder, first_seq, last_seq, spans } = self;
        error!(
            folder = %folder.display(), first_seq, last_seq, spans_ms = spans.as_millis(),
            "entries of the ledger were not signed for longer than a writer waits: somebody may have added them"
        );
    }
}

/// What was too old was removed from the ledger.
#[derive(Debug)]
pub struct LedgerPruned {
    /// How many segments.
    pub segments: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many payloads and names were erased in segments that stay.
    pub records: u64,
}

impl LedgerPruned {
    /// Logs it.
    pub fn emit(self) {
        let Self { segments, bytes, records } = self;
        info!(segments, bytes, records, "what is too old was removed from the ledger");
    }
}

/// What is too old is kept in the ledger since somebody has not had it yet.
#[derive(Debug)]
pub struct LedgerKeptLonger<'a> {
    /// Who.
    pub who: &'a str,
}

impl LedgerKeptLonger<'_> {
    /// Logs it.
    pub fn emit(self) {
        warn!(who = self.who, "the ledger is kept longer than it should be: somebody has not had it yet");
    }
}

/// Something that is to be done about the ledger now and then failed: it is tried again.
#[derive(Debug)]
pub struct LedgerUpkeepFailed<'a> {
    /// What: `retention`, `erasure` or `anchor`.
    pub what: &'static str,
    /// Why.
    pub reason: &'a str,
}

impl LedgerUpkeepFailed<'_> {
    /// Logs it.
    pub fn emit(self) {
        warn!(what = self.what, reason = %Clean(self.reason), "the ledger is not kept as it should be; it is tried again");
    }
}

/// Payloads and names were erased from the ledger, as somebody asked.
#[derive(Debug)]
pub struct LedgerErased {
    /// The number of the request.
    pub request: u64,
    /// How many.
    pub records: u64,
}

impl LedgerErased {
    /// Logs it.
    pub fn emit(self) {
        let Self { request, records } = self;
        info!(request, records, "payloads and names were erased from the ledger");
    }
}

/// What a process left behind that is gone was brought in order.
#[derive(Debug)]
pub struct LedgerRecovered<'a> {
    /// The writer's folder.
    pub folder: &'a std::path::Path,
    /// How many calls it had open, of which nobody knows how they ended.
    pub closed: usize,
    /// How many bytes were cut off its end, which it had not finished to write.
    pub cut_bytes: u64,
    /// Where something stands that should not: the segment, and the byte in it.
    pub damage: Option<(u64, u64)>,
}

impl LedgerRecovered<'_> {
    /// Logs it.
    pub fn emit(self) {
        let (folder, closed, cut_bytes) = (self.folder.display(), self.closed, self.cut_bytes);
        match self.damage {
            None => warn!(%folder, closed, cut_bytes, "a ledger that was not ended in good order goes on"),
            Some((segment, offset)) => {
                error!(%folder, closed, cut_bytes, segment, offset, "a ledger is damaged; it goes on behind the damage");
            }
        }
    }
}

/// A request was refused, or answered for a server that could not.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The refusal.
    pub refusal: &'a Refusal,
    /// The request id that the client was told too.
    pub request_id: &'a str,
    /// The trace that the request is part of.
    pub trace: Option<TraceId>,
}

impl Refused<'_> {
    /// Logs and counts it: what is a client's own doing at `debug`, other trouble at `warn`.
    pub fn emit(self) {
        let refusal = self.refusal;
        let row = refusal.code.row();
        counters::request(counters::Outcome::Refused(refusal.code));
        if let Some(Why::Blocked(kind)) = refusal.why.as_deref() {
            counters::blocked(kind);
        }
        let server = refusal.server.as_ref().map_or("", ServerName::as_str);
        let (code, stage, request_id) = (row.name, refusal.stage.as_str(), self.request_id);
        let trace_id = self.trace.map(|id| id.to_string()).unwrap_or_default();
        let text = Clean(&refusal.public);
        let internal = Clean(refusal.internal.as_deref().unwrap_or_default());
        match row.source {
            Source::Client | Source::Policy | Source::Limit | Source::Guard | Source::Operator => {
                debug!(code, stage, server, request_id, trace_id, %text, %internal, "refused");
            }
            Source::Upstream | Source::Gateway => {
                warn!(code, stage, server, request_id, trace_id, %text, %internal, "refused");
            }
        }
    }
}

/// An operator has blocked something, or let it go on.
#[derive(Debug)]
pub struct BlockChanged<'a> {
    /// `tool`, `server`, `agent`, `user`, `key` or `tenant`.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The tenant that it is about; empty for all.
    pub tenant: &'a str,
    /// Whether it is blocked from now on.
    pub is_blocked: bool,
    /// Who did it.
    pub by: &'a str,
    /// Why; empty if nothing was said.
    pub reason: &'a str,
}

impl BlockChanged<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { kind, is_blocked, .. } = self;
        let (name, tenant) = (Clean(self.name), Clean(self.tenant));
        let (by, reason) = (Clean(self.by), Clean(self.reason));
        if is_blocked {
            warn!(kind, %name, %tenant, %by, %reason, "BLOCKED by an operator");
        } else {
            warn!(kind, %name, %tenant, %by, %reason, "no longer blocked");
        }
    }
}

/// An approval was asked for, or stands otherwise than before.
#[derive(Debug)]
pub struct ApprovalChanged<'a> {
    /// Its id.
    pub id: &'a str,
    /// What has happened to it: `requested`, `agreed`, `granted`, `denied`, `used`, `replaced` or `withdrawn`.
    pub what: &'a str,
    /// The tenant of its caller.
    pub tenant: &'a str,
    /// The server.
    pub server: &'a str,
    /// What is called there, by the server's own name.
    pub native: &'a str,
    /// Who has said something; empty if nobody has.
    pub by: &'a str,
}

impl ApprovalChanged<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { id, what, .. } = self;
        let (tenant, server) = (Clean(self.tenant), Clean(self.server));
        let (native, by) = (Clean(self.native), Clean(self.by));
        info!(id, what, %tenant, %server, %native, %by, "an approval has changed");
    }
}

/// Something was done with a server that was registered while gateways run.
#[derive(Debug)]
pub struct RegistrationChanged<'a> {
    /// The server.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// Whose it is.
    pub tenant: &'a str,
    /// What was done.
    pub act: &'a str,
    /// Who did it.
    pub by: &'a str,
    /// Why; empty if nothing was said.
    pub reason: &'a str,
}

impl RegistrationChanged<'_> {
    /// Logs it.
    pub fn emit(self) {
        let (server, version, tenant) = (Clean(self.name), Clean(self.version), Clean(self.tenant));
        let (by, reason) = (Clean(self.by), Clean(self.reason));
        info!(%server, %version, %tenant, act = self.act, %by, %reason, "a registered server has changed");
    }
}

/// A registered server is approved, and cannot be served here.
#[derive(Debug)]
pub struct RegistrationLeftOut<'a> {
    /// The server and its version.
    pub server: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl RegistrationLeftOut<'_> {
    /// Logs it.
    pub fn emit(self) {
        let (server, reason) = (Clean(self.server), Clean(self.reason));
        warn!(%server, %reason, "a registered server is approved, and is not served here");
    }
}

/// Something is served that cannot be put on record: the configuration says so.
#[derive(Debug)]
pub struct NotRecorded<'a> {
    /// Whose it is; empty if it is no server's.
    pub server: &'a str,
    /// Why it cannot.
    pub reason: &'a str,
}

impl NotRecorded<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::not_recorded();
        let (server, reason) = (Clean(self.server), Clean(self.reason));
        error!(%server, %reason, "SERVED WITHOUT A RECORD: the ledger cannot be written");
    }
}

/// No policy of a tenant permits anything.
#[derive(Debug)]
pub struct NothingAllowed<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
}

impl NothingAllowed<'_> {
    /// Logs it.
    pub fn emit(self) {
        let tenant = Clean(self.tenant.as_str());
        warn!(%tenant, "NOTHING IS ALLOWED: no policy of this tenant permits anything, so its callers can use nothing");
    }
}

/// Something that is to be said of a policy, when it is read or when a server's tools have changed.
#[derive(Debug)]
pub struct PolicyFinding<'a> {
    /// Whose policy it is.
    pub tenant: &'a TenantId,
    /// Its file.
    pub path: &'a str,
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: &'a str,
    /// What to write instead.
    pub suggestion: Option<&'a str>,
    /// Whether the policies cannot be used because of it.
    pub is_error: bool,
}

impl PolicyFinding<'_> {
    /// Logs it.
    pub fn emit(self) {
        let (tenant, path, line) = (Clean(self.tenant.as_str()), Clean(self.path), self.line);
        let suggestion = self.suggestion.map(|suggestion| format!(" ({suggestion})")).unwrap_or_default();
        let problem = format!("{}{suggestion}", self.message);
        let problem = Clean(&problem);
        if self.is_error {
            error!(%tenant, %path, line, %problem, "policy");
        } else {
            warn!(%tenant, %path, line, %problem, "policy");
        }
    }
}

/// Policy said no to what a caller wanted of a server.
#[derive(Debug)]
pub struct Denied<'a> {
    /// Who wanted it.
    pub who: &'a Principal,
    /// At which endpoint; empty for the merged one.
    pub endpoint: &'a str,
    /// Of which server.
    pub server: &'a ServerId,
    /// What it is: `tool`, `resource` or `prompt`.
    pub kind: &'static str,
    /// The server's own name or URI of it.
    pub native: &'a str,
    /// What policy said.
    pub decision: &'a Decision,
    /// Whether the caller was told that there is no such thing.
    pub is_hidden: bool,
    /// The request id that the client was told too.
    pub request_id: &'a str,
    /// How long the decision took.
    pub elapsed: Duration,
}

impl Denied<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let verdict = match (self.is_hidden, self.decision.allowed) {
            (true, _) => counters::Verdict::Hidden,
            (false, false) => counters::Verdict::Denied,
            (false, true) => counters::Verdict::Withheld,
        };
        counters::decided(verdict);
        let (tenant, principal) = (Clean(self.who.tenant.as_str()), Clean(self.who.id.as_str()));
        let agent = Clean(self.who.agent.as_deref().unwrap_or_default());
        let user = Clean(self.who.user.as_deref().unwrap_or_default());
        let ids: Vec<&str> = self.decision.policies.iter().map(|policy| &*policy.id).collect();
        let (policies, reasons) = (ids.join(", "), self.decision.reasons.join("; "));
        let (policies, reasons) = (Clean(&policies), Clean(&reasons));
        let errors = self.decision.errors.join("; ");
        let errors = Clean(&errors);
        let native = bare_uri(self.native);
        let (server, kind, native) = (self.server.label(), self.kind, Clean(&native));
        let (endpoint, request_id, verdict) = (self.endpoint, self.request_id, verdict.label());
        let elapsed_us = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        info!(
            verdict, %tenant, %principal, %agent, %user, endpoint, %server, kind, %native, %policies, %reasons, %errors,
            request_id, elapsed_us, "policy says no"
        );
    }
}

/// Policies that only look on would have decided otherwise. Not every time is told.
#[derive(Debug)]
pub struct ShadowDiffers<'a> {
    /// Who wanted it.
    pub who: &'a Principal,
    /// At which endpoint; empty for the merged one.
    pub endpoint: &'a str,
    /// Of which server.
    pub server: &'a ServerId,
    /// What it is: `tool`, `resource` or `prompt`.
    pub kind: &'static str,
    /// The server's own name or URI of it.
    pub native: &'a str,
    /// What was decided.
    pub live: &'a Decision,
    /// What they would have decided.
    pub shadow: &'a Decision,
    /// How the two differ.
    pub verdict: counters::Shadow,
}

impl ShadowDiffers<'_> {
    /// Logs it.
    pub fn emit(self) {
        let ids = |decision: &Decision| {
            decision.policies.iter().map(|policy| &*policy.id).collect::<Vec<_>>().join(", ")
        };
        let (live, shadow) = (ids(self.live), ids(self.shadow));
        let (policies, shadow_policies) = (Clean(&live), Clean(&shadow));
        let (tenant, principal) = (Clean(self.who.tenant.as_str()), Clean(self.who.id.as_str()));
        let agent = Clean(self.who.agent.as_deref().unwrap_or_default());
        let native = bare_uri(self.native);
        let (server, kind, native) = (self.server.label(), self.kind, Clean(&native));
        let (endpoint, verdict) = (self.endpoint, self.verdict.label());
        info!(
            verdict, %tenant, %principal, %agent, endpoint, %server, kind, %native, %policies, %shadow_policies,
            "the shadow policies would have decided otherwise"
        );
    }
}

/// A request did not prove who calls.
#[derive(Debug)]
pub struct CallerRefused<'a> {
    /// Where it came from.
    pub source: IpAddr,
    /// The issuer whose token it was; empty if it was none, or is not known.
    pub issuer: &'a str,
    /// Why, in one word.
    pub reason: &'static str,
    /// More of it; never the credential.
    pub detail: &'a str,
    /// Whether to log it: not what goes on and on.
    pub is_news: bool,
}

impl CallerRefused<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::caller_refused(self.issuer, self.reason);
        if self.is_news {
            let (source, reason) = (self.source, self.reason);
            let (issuer, detail) = (Clean(self.issuer), Clean(self.detail));
            warn!(%source, reason, %issuer, %detail, "a caller is not known");
        }
    }
}

/// The keys of an issuer were asked for.
#[derive(Debug)]
pub struct IssuerAsked<'a> {
    /// Which issuer.
    pub issuer: &'a str,
    /// Why they could not be had; none if they were.
    pub problem: Option<&'a str>,
}

impl IssuerAsked<'_> {
    /// Counts it, and logs it if it failed.
    pub fn emit(self) {
        counters::issuer_asked(self.issuer, self.problem.is_none());
        if let Some(problem) = self.problem {
            let (issuer, problem) = (Clean(self.issuer), Clean(problem));
            warn!(%issuer, %problem, "the keys of an issuer cannot be had");
        }
    }
}

/// A new process is started that is to serve in place of this one, on the same sockets.
#[derive(Debug, Clone, Copy)]
pub struct HandoverStarted;

impl HandoverStarted {
    /// Logs it.
    pub fn emit(self) {
        info!("handing over: a new process starts");
    }
}

/// How handing over ended.
#[derive(Debug)]
pub struct HandoverEnded<'a> {
    /// The number of the process that serves now, or why this one goes on.
    pub followed: Result<u32, &'a str>,
}

impl HandoverEnded<'_> {
    /// Logs it.
    pub fn emit(self) {
        match self.followed {
            Ok(process) => info!(process, "handed over: another process serves"),
            Err(reason) => error!(reason = %Clean(reason), "not handed over: this process goes on"),
        }
    }
}

/// The gateway stops: no new connections, requests under way may finish.
#[derive(Debug)]
pub struct DrainStarted {
    /// What asked for it, as `SIGTERM`.
    pub cause: &'static str,
    /// How long requests under way may take.
    pub grace: Duration,
}

impl DrainStarted {
    /// Logs it.
    pub fn emit(self) {
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        info!(cause = self.cause, grace_ms, "stopping: requests under way may finish");
    }
}

/// The gateway has stopped.
#[derive(Debug)]
pub struct DrainEnded {
    /// Whether everything under way finished in time.
    pub complete: bool,
}

impl DrainEnded {
    /// Logs it.
    pub fn emit(self) {
        if self.complete {
            info!("stopped");
        } else {
            warn!("stopped before everything under way was finished");
        }
    }
}

/// What receives an export does not. Calls go on; entries wait in their segments.
#[derive(Debug)]
pub struct ExportAway<'a> {
    /// Which export.
    pub export: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl ExportAway<'_> {
    /// Logs it.
    pub fn emit(self) {
        warn!(export = self.export, reason = %Clean(self.reason), "an export is not received; it is tried again");
    }
}

/// What receives an export does again.
#[derive(Debug)]
pub struct ExportBack<'a> {
    /// Which export.
    pub export: &'a str,
    /// For how long it did not.
    pub away: Duration,
}

impl ExportBack<'_> {
    /// Logs it.
    pub fn emit(self) {
        info!(export = self.export, away_ms = self.away.as_millis(), "an export is received again");
    }
}

/// An export lies further behind than it may.
#[derive(Debug)]
pub struct ExportBehind<'a> {
    /// Which export.
    pub export: &'a str,
    /// How far.
    pub behind_bytes: u64,
    /// How far it may.
    pub behind_bytes_max: u64,
}

impl ExportBehind<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { export, behind_bytes, behind_bytes_max } = self;
        error!(
            export,
            behind_bytes, behind_bytes_max, "an export lies too far behind; retention does not wait for it"
        );
    }
}

/// Something stands in the ledger that is no entry: an export goes on behind it.
#[derive(Debug)]
pub struct ExportDamaged<'a> {
    /// Which export.
    pub export: &'a str,
    /// The file.
    pub path: &'a std::path::Path,
    /// The byte in it.
    pub offset: u64,
}

impl ExportDamaged<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { export, path, offset } = self;
        error!(export, path = %path.display(), offset, "the ledger is damaged; an export goes on behind it");
    }
}

/// The receiver of an export does not take an entry: it got a stub in its place.
#[derive(Debug)]
pub struct ExportStub<'a> {
    /// Which export.
    pub export: &'a str,
    /// The number of the entry.
    pub seq: u64,
    /// Why.
    pub reason: &'a str,
}

impl ExportStub<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { export, seq, reason } = self;
        error!(export, seq, reason, "an export sent only that an entry is there, and not what it says");
    }
}

/// Entries were removed, or damaged, before an export had them.
#[derive(Debug)]
pub struct ExportLost<'a> {
    /// Which export.
    pub export: &'a str,
    /// The number of the first.
    pub first_seq: u64,
    /// The number of the last.
    pub last_seq: u64,
}

impl ExportLost<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { export, first_seq, last_seq } = self;
        error!(export, first_seq, last_seq, "entries are not there any more that were not exported yet");
    }
}

/// What an export has sent is not in the ledger any more, as after a loss of power: it sends a segment again.
#[derive(Debug)]
pub struct ExportRepeats<'a> {
    /// Which export.
    pub export: &'a str,
    /// The number of the first entry that comes again.
    pub first_seq: u64,
}

impl ExportRepeats<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self { export, first_seq } = self;
        warn!(export, first_seq, "the ledger is not what was exported of it; a segment is exported again");
    }
}

/// The receiver of an export does not want entries, for good.
#[derive(Debug)]
pub struct ExportUnwanted<'a> {
    /// Which export.
    pub export: &'a str,
    /// How many.
    pub entries: u64,
}

impl ExportUnwanted<'_> {
    /// Logs it.
    pub fn emit(self) {
        error!(
            export = self.export,
            entries = self.entries,
            "the receiver of an export does not take entries"
        );
    }
}
