//! What the gateway itself asks of a server about a task, on behalf of a client.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tollgate_mcp::{Message, quote};
use tollgate_model::{ClientProfile, ServerId};
use tollgate_upstream::UpstreamError;

use crate::bridge;
use crate::gateway::Gateway;
use crate::stages::Route;
use crate::stages::dispatch::{self, Departure, Listener, Sent};
use crate::stages::record::Receipt;

/// How long a server may take to say how a task is, or that it heard.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// A way to a server, and whom the gateway speaks for there.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) server: &'a ServerId,
    pub(crate) route: &'a Route,
    pub(crate) client: &'a ClientProfile,
}

impl Speaker<'_> {
    /// Asks something that is answered at once.
    pub(crate) async fn ask(
        &self,
        method: &'static str,
        native: &str,
        receipt: Receipt,
    ) -> Result<Message, UpstreamError> {
        self.send(method, native, None, Some(ANSWER_WAIT), None, receipt).await?.into_response()
    }

    /// Brings a client's answers (raw JSON) to a modern server.
    pub(crate) async fn update(
        &self,
        native: &str,
        responses: &Bytes,
        receipt: Receipt,
    ) -> Result<Message, UpstreamError> {
        let sent = self.send("tasks/update", native, Some(responses), Some(ANSWER_WAIT), None, receipt);
        sent.await?.into_response()
    }

    /// Asks for a task's result, which may take long.
    pub(crate) async fn result(
        &self,
        native: &str,
        listener: Option<&Listener<'_>>,
        receipt: Receipt,
    ) -> Result<Sent, UpstreamError> {
        self.send(tollgate_mcp::methods::TASKS_RESULT, native, None, None, listener, receipt).await
    }

    async fn send(
        &self,
        method: &'static str,
        native: &str,
        responses: Option<&Bytes>,
        timeout: Option<Duration>,
        listener: Option<&Listener<'_>>,
        receipt: Receipt,
    ) -> Result<Sent, UpstreamError> {
        let link = self.route.link();
        let id = link.mint();
        let mut params = b"\"taskId\":".to_vec();
        params.extend_from_slice(&quote(native));
        if let Some(responses) = responses {
            params.extend_from_slice(b",\"inputResponses\":");
            params.extend_from_slice(responses);
        }
        let params = String::from_utf8_lossy(&params);
        let departure = Departure {
            id,
            method: Cow::Borrowed(method),
            native: Some(native.to_owned()),
            param_headers: Vec::new(),
            body: bridge::own_request(id, method, &params, self.client, link.era(), None),
            log_level: None,
            waits: tollgate_upstream::Waits { total: timeout, ..patient() },
            onward: None,
        };
        dispatch::send(self.server, self.route, departure, listener, receipt).await
    }
}

/// A server may be silent for as long as its task takes.
pub(super) fn patient() -> tollgate_upstream::Waits {
    tollgate_upstream::Waits { idle: Some(Duration::MAX), ..tollgate_upstream::Waits::default() }
}
