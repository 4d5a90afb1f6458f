//! How an instance begins: which era the server speaks, and its first words.
//!
//! Only `server/discover` finds a modern server; any error, or silence, means legacy, and then `initialize` begins a
//! session with the client's own capabilities (2026-07-28, versioning, and both transports' backward compatibility).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_mcp::{Message, Segments, methods};
use tollgate_model::{Era, Revision};

use crate::conversation::{CallReceiver, Command, Conversation, Whose, response};
use crate::event::Source;
use crate::hello::{self, Discovery, Hello, read_discovery, read_initialize};
use crate::link::{Instance, Wire};
use crate::session::{Begun, Introduction, Session, answer};
use crate::shared::{EraFact, Shared};
use crate::site::{Rejection, Site};
use crate::stream::Stream;
use crate::{Audience, EraChoice, Outbound, StdioSettings, UpstreamError, Waits, sse, stdio};

/// The ids of the greetings; below [`crate::link::FIRST_ID`].
const DISCOVER: u64 = 1;
const INITIALIZE: u64 = 2;

/// What is needed to begin an instance.
#[derive(Clone)]
pub(crate) struct Beginning {
    pub(crate) shared: Arc<Shared>,
    pub(crate) source: Source,
    pub(crate) introduction: Introduction,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What is known, or decided by the operator, of the era of a server that is started.
pub(crate) fn presumed(shared: &Shared) -> EraFact {
    presume(shared, shared.era())
}

/// The same of a replica.
pub(crate) fn presumed_at(site: &Site) -> EraFact {
    presume(&site.shared, site.replica.era())
}

fn presume(shared: &Shared, known: EraFact) -> EraFact {
    match shared.settings.era {
        EraChoice::Auto => known,
        EraChoice::Legacy if known == EraFact::LegacySse => EraFact::LegacySse,
        EraChoice::Legacy => EraFact::Legacy,
        EraChoice::Modern => EraFact::Modern,
    }
}

/// Asks a server with a URL whether it is modern. `None`: it is not.
pub(crate) async fn discover_over_http(site: &Arc<Site>) -> Result<Option<Instance>, UpstreamError> {
    let shared = &site.shared;
    if shared.settings.era == EraChoice::Legacy {
        return Ok(None);
    }
    let only_modern = shared.settings.era == EraChoice::Modern;
    let wait = shared.settings.timeouts.probe;
    let answer = match timeout(wait, ask_over_http(site)).await {
        Ok(Ok(answer)) => answer,
        // Nobody was reached, or the credential was refused: that says nothing of the era.
        Ok(Err(
            error @ (UpstreamError::Unavailable { .. }
            | UpstreamError::Rejected { status: 429 | 502..=504, .. }
            | UpstreamError::Auth { .. }
            | UpstreamError::Endless { .. }
            | UpstreamError::Flood { .. }
            | UpstreamError::Capacity { .. }),
        )) => {
            return Err(error);
        }
        Ok(Err(error)) if only_modern => return Err(error),
        Err(_) if only_modern => return Err(UpstreamError::Timeout { what: "server/discover", after: wait }),
        Ok(Err(_)) | Err(_) => None,
    };
    let discovery = answer.as_ref().map_or(Discovery::Legacy, read_discovery);
    match discovery {
        Discovery::Modern(hello) => {
            let wire = Wire::Modern(Arc::clone(site));
            Ok(Some(Instance::new(shared, hello, Revision::LATEST, Source::everyone(), wire)))
        }
        Discovery::Legacy if only_modern => Err(UpstreamError::Unsupported {
            detail: "it is configured as modern, and did not answer server/discover".into(),
        }),
        Discovery::Legacy => Ok(None),
        Discovery::Unsupported(detail) => Err(UpstreamError::Unsupported { detail: detail.into() }),
    }
}

/// Whether anybody is there who answers: whatever it is, but no 5xx status alone. For a replica that was left alone.
pub(crate) async fn looks_alive(site: &Arc<Site>, wait: Duration) -> Result<(), UpstreamError> {
    let asked = timeout(wait, async {
        let (headers, body) = discovery(site)?;
        let reply = site.post(&site.target, headers, body).await.map_err(|error| site.error(error))?;
        if !reply.status().is_server_error() {
            return Ok(());
        }
        let rejection = Rejection::read(reply, &site.shared.message_limits()).await;
        if rejection.message.is_none() { Err(rejection.error()) } else { Ok(()) }
    });
    asked.await.unwrap_or(Err(UpstreamError::Timeout { what: "server/discover", after: wait }))
}

/// The JSON-RPC answer to `server/discover`, if there is one; asked twice where the first refusal invites to it.
async fn ask_over_http(site: &Arc<Site>) -> Result<Option<Message>, UpstreamError> {
    match ask_once_over_http(site).await {
        Ok(Some(refusal)) if hello::wants_another_try(&refusal) => ask_once_over_http(site).await,
        answer => answer,
    }
}

fn discovery(site: &Site) -> Result<(HeaderMap, Segments), UpstreamError> {
    let request = Outbound {
        id: DISCOVER,
        method: methods::SERVER_DISCOVER.into(),
        mcp_name: None,
        params: Vec::new(),
        also: Vec::new(),
        body: hello::discover(DISCOVER),
        waits: Waits::default(),
        log_level: None,
    };
    let mut headers = site.post_headers(Some(Revision::LATEST), None);
    Site::mirror(&mut headers, &request)?;
    Ok((headers, request.body))
}

async fn ask_once_over_http(site: &Arc<Site>) -> Result<Option<Message>, UpstreamError> {
    let (headers, body) = discovery(site)?;
    let reply = site.post(&site.target, headers, body).await.map_err(|error| site.error(error))?;
    if reply.status().is_success() {
        let stream = Stream::new(reply, Arc::clone(&site.shared), &site.replica);
        let Ok(mut stream) = stream else { return Ok(None) };
        let message = match answer(&mut stream, DISCOVER).await {
            // That says nothing of its era, and nothing more is read of it.
            Err(error) if error.is_spew() => return Err(error),
            other => other.ok(),
        };
        stream.finish();
        return Ok(message);
    }
    let rejection = Rejection::read(reply, &site.shared.message_limits()).await;
    match rejection.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(rejection.error()),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS if rejection.message.is_none() => {
            Err(rejection.error())
        }
        _ => Ok(rejection.message),
    }
}

/// Begins a legacy session with a server that has a URL.
pub(crate) async fn begin_over_http(
    beginning: Beginning,
    site: Arc<Site>,
    only_sse: bool,
) -> Result<Instance, UpstreamError> {
    let shared = Arc::clone(&beginning.shared);
    let known = presumed_at(&site);
    if only_sse || known == EraFact::LegacySse {
        return begin_over_sse(&beginning, &site, known).await;
    }
    let begun = Session::begin(
        &site,
        beginning.introduction.clone(),
        beginning.source.clone(),
        &beginning.tasks,
        beginning.stop.child_token(),
    )
    .await;
    match begun {
        Ok(Begun::Session(session, hello)) => {
            site.replica.learn_era(EraFact::Legacy);
            let revision = session.revision;
            Ok(Instance::new(&shared, hello, revision, beginning.source, Wire::Session(session)))
        }
        // The specification's last resort (2025-11-25, transports, backwards compatibility).
        Ok(Begun::NotHere(status)) => {
            begin_over_sse(&beginning, &site, known).await.map_err(|error| match error {
                UpstreamError::Protocol { .. } => {
                    forget(&site, known);
                    UpstreamError::protocol(
                        "the server's URL answers as neither Streamable HTTP nor HTTP+SSE",
                        format!("initialize was answered with status {}; then {error}", status.as_u16()),
                    )
                }
                other => other,
            })
        }
        Err(error) => {
            forget(&site, known);
            Err(error)
        }
    }
}

async fn begin_over_sse(
    beginning: &Beginning,
    site: &Arc<Site>,
    known: EraFact,
) -> Result<Instance, UpstreamError> {
    let shared = &beginning.shared;
    let source = beginning.source.clone();
    let stop = beginning.stop.child_token();
    let conversation = sse::start(site, source.clone(), &beginning.tasks, stop)
        .await
        .inspect_err(|_| forget(site, known))?;
    let wait = shared.settings.timeouts.probe;
    let (revision, hello) = match introduce(&conversation, &beginning.introduction, wait).await {
        Ok(done) => done,
        Err(error) => {
            conversation.stop.cancel();
            forget(site, known);
            return Err(error);
        }
    };
    site.replica.learn_era(EraFact::LegacySse);
    Ok(Instance::new(shared, hello, revision, source, Wire::Shared(Box::new(conversation))))
}

/// A start on the strength of what was known has failed: the next one probes.
fn forget(site: &Site, known: EraFact) {
    if known != EraFact::Unknown && site.shared.settings.era == EraChoice::Auto {
        site.replica.forget_era("a session could not be begun");
    }
}

/// Starts a child and greets it.
pub(crate) async fn begin_child(
    beginning: Beginning,
    settings: StdioSettings,
    expected: EraFact,
) -> Result<Instance, UpstreamError> {
    let shared = Arc::clone(&beginning.shared);
    let mut presumption = match shared.settings.era {
        EraChoice::Auto => expected,
        _ => presumed(&shared),
    };
    let mut died = false;
    loop {
        let stop = beginning.stop.child_token();
        let mut source = beginning.source.clone();
        let conversation = stdio::start(&shared, &settings, source.clone(), &beginning.tasks, stop)?;
        let greeted = greet_child(&conversation, &beginning, presumption).await;
        match greeted {
            Ok((revision, hello)) => {
                // Nobody owns what a modern server says, unless the operator keeps its callers apart.
                let everyones = revision.era() == Era::Modern && shared.settings.isolation.is_none();
                if everyones {
                    source.audience = Audience::Everyone;
                }
                let _ = conversation.command(Command::Settled(revision, source.audience.clone())).await;
                return Ok(Instance::new(
                    &shared,
                    hello,
                    revision,
                    source,
                    Wire::Shared(Box::new(conversation)),
                ));
            }
            // Some legacy servers die of a request before `initialize`: once more, straight into that.
            Err(UpstreamError::Closed { .. } | UpstreamError::Stale { .. })
                if conversation.has_ended()
                    && !died
                    && shared.settings.era == EraChoice::Auto
                    && presumption != EraFact::Legacy =>
            {
                died = true;
                presumption = EraFact::Legacy;
            }
            Err(error) => {
                conversation.stop.cancel();
                return Err(match error {
                    UpstreamError::Closed { detail } => UpstreamError::Unavailable {
                        what: "the server's process ended before it could be used".into(),
                        detail,
                    },
                    UpstreamError::Timeout { .. } | UpstreamError::FirstByte { .. } => {
                        UpstreamError::unavailable(
                            "the server's process was started and did not answer in time",
                            error,
                        )
                    }
                    other => other,
                });
            }
        }
    }
}

async fn greet_child(
    conversation: &Conversation,
    beginning: &Beginning,
    presumption: EraFact,
) -> Result<(Revision, Hello), UpstreamError> {
    let shared = &beginning.shared;
    let automatic = shared.settings.era == EraChoice::Auto;
    let wait = sse::initialize_wait(shared, true);
    if matches!(presumption, EraFact::Legacy | EraFact::LegacySse) {
        let begun = introduce(conversation, &beginning.introduction, wait).await;
        return match begun {
            Ok(done) => {
                shared.learn_era(EraFact::Legacy);
                Ok(done)
            }
            Err(error) if automatic && shared.era() == EraFact::Legacy && !conversation.has_ended() => {
                shared.forget_era("initialize failed");
                Err(UpstreamError::stale(error))
            }
            Err(error) => Err(error),
        };
    }
    let (revision, hello) = match probe_child(conversation, beginning).await? {
        Probed::Modern(hello) => {
            shared.learn_era(EraFact::Modern);
            return Ok((Revision::LATEST, hello));
        }
        Probed::Greeted(revision, hello) => (revision, hello),
        Probed::Legacy => {
            if presumption == EraFact::Modern {
                // It was started for everyone; now that it keeps state, it may be only one caller's.
                shared.learn_era(EraFact::Legacy);
                return Err(UpstreamError::stale("the server is no longer modern"));
            }
            introduce(conversation, &beginning.introduction, wait).await?
        }
    };
    shared.learn_era(EraFact::Legacy);
    Ok((revision, hello))
}

enum Probed {
    Modern(Hello),
    Legacy,
    /// `initialize` was answered while `server/discover` was not.
    Greeted(Revision, Hello),
}

/// Sends `server/discover`; after a silence `initialize` too, and takes whichever is answered.
async fn probe_child(conversation: &Conversation, beginning: &Beginning) -> Result<Probed, UpstreamError> {
    let shared = &beginning.shared;
    let only_modern = shared.settings.era == EraChoice::Modern;
    let mut discovery = conversation.call(DISCOVER, hello::discover(DISCOVER), Whose::Own).await?;
    let wait = shared.settings.timeouts.probe;
    let long_wait = sse::initialize_wait(shared, true);
    let first = if only_modern { long_wait } else { wait };
    match timeout(first, response(conversation, &mut discovery)).await {
        Ok(answer) => return judge(&answer?, only_modern),
        Err(_) if only_modern => {
            return Err(UpstreamError::Timeout { what: "server/discover", after: first });
        }
        Err(_) => {}
    }
    let introduction = &beginning.introduction;
    let body = hello::initialize(INITIALIZE, &introduction.capabilities, introduction.info.as_ref());
    let mut initialization = conversation.call(INITIALIZE, body, Whose::Own).await?;
    let either = async {
        tokio::select! {
            answer = response(conversation, &mut discovery) => match judge(&answer?, false)? {
                Probed::Legacy => read(conversation, &mut initialization).await,
                probed => Ok(probed),
            },
            greeted = read(conversation, &mut initialization) => greeted,
        }
    };
    let probed = timeout(long_wait, either)
        .await
        .unwrap_or(Err(UpstreamError::Timeout { what: "initialize", after: wait + long_wait }))?;
    conversation.leave(DISCOVER, false);
    conversation.leave(INITIALIZE, false);
    if matches!(probed, Probed::Greeted(..)) {
        conversation.send(hello::initialized()).await?;
    }
    Ok(probed)
}

async fn read(
    conversation: &Conversation,
    initialization: &mut CallReceiver,
) -> Result<Probed, UpstreamError> {
    let answer = response(conversation, initialization).await?;
    let (revision, hello) = read_initialize(&answer)?;
    Ok(Probed::Greeted(revision, hello))
}

fn judge(answer: &Message, only_modern: bool) -> Result<Probed, UpstreamError> {
    match read_discovery(answer) {
        Discovery::Modern(hello) => Ok(Probed::Modern(hello)),
        Discovery::Legacy if only_modern => Err(UpstreamError::Unsupported {
            detail: "it is configured as modern, and did not answer server/discover".into(),
        }),
        Discovery::Legacy => Ok(Probed::Legacy),
        Discovery::Unsupported(detail) => Err(UpstreamError::Unsupported { detail: detail.into() }),
    }
}

/// `initialize` and `notifications/initialized` on a shared stream.
async fn introduce(
    conversation: &Conversation,
    introduction: &Introduction,
    wait: Duration,
) -> Result<(Revision, Hello), UpstreamError> {
    let body = hello::initialize(INITIALIZE, &introduction.capabilities, introduction.info.as_ref());
    let greeting = async {
        let mut receiver = conversation.call(INITIALIZE, body, Whose::Own).await?;
        let answer = response(conversation, &mut receiver).await?;
        let greeted = read_initialize(&answer)?;
        conversation.send(hello::initialized()).await?;
        Ok(greeted)
    };
    // Clients must not cancel `initialize` (2025-11-25, cancellation): after a timeout the child or session is ended.
    timeout(wait, greeting).await.unwrap_or(Err(UpstreamError::Timeout { what: "initialize", after: wait }))
}
