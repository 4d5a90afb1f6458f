//! What the gateway has asked one client, and not been answered yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tollgate_mcp::{JsonKind, Message, Segments, compose, meta, methods};
use tollgate_model::ServerId;
use tollgate_telemetry::counters::{Keeping, Kept};

use crate::mailbox::{Mailbox, READER_PATIENCE};

/// How many notifications of progress with one question may wait for the server.
const PROGRESS_MAX: usize = 8;
/// The open questions of one client. Clones share the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// None is sent where the server has taken the question back.
    answer: oneshot::Sender<Option<Message>>,
    /// Which server asks, and under which id.
    asked_as: Option<(ServerId, Bytes)>,
    /// The token under which the server wants to hear of progress, and the way there.
    progress: Option<(Bytes, mpsc::Sender<Segments>)>,
    _counted: Keeping,
}

/// A request of a server's own, which it waits for, may hear of the progress of, and may take back.
#[derive(Debug, Clone)]
pub(crate) struct Waits {
    pub(crate) server: ServerId,
    /// Its id, as raw JSON.
    pub(crate) raw_id: Bytes,
    /// The token under which the server wants to hear of progress, as raw JSON.
    pub(crate) token: Option<Bytes>,
}

/// A question on its way. Dropping it unanswered tells the client that nobody waits for the answer any more.
#[derive(Debug)]
pub(crate) struct Question {
    questions: Questions,
    stream: Mailbox,
    /// Where its client may hear that it is withdrawn, once the stream has ended.
    pub(crate) elsewhere: Option<Mailbox>,
    id: u64,
    answer: oneshot::Receiver<Option<Message>>,
    progress: Option<mpsc::Receiver<Segments>>,
    /// The client has answered.
    settled: bool,
}

/// What is heard of a question.
pub(crate) enum Heard {
    /// The client is at it: a notification for the server, under its own token.
    Progress(Segments),
    /// The client's response.
    Answer(Message),
    /// The server has taken the question back.
    TakenBack,
    /// Nothing more: the client has gone.
    Nothing,
}

/// The client cannot be asked: it has too many open questions, or reads no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CannotAsk;

impl Questions {
    /// Puts a question on a stream that the client reads. `write` gets the id; `waits` says which server's own request it is,
    /// if it is one.
    pub(crate) async fn ask(
        &self,
        stream: &Mailbox,
        open_max: usize,
        waits: Option<Waits>,
        write: impl FnOnce(u64) -> Segments,
    ) -> Result<Question, CannotAsk> {
        let (sender, answer) = oneshot::channel();
        let (asked_as, token) = match waits {
            Some(Waits { server, raw_id, token }) => (Some((server, raw_id)), token),
            None => (None, None),
        };
        let (progress, told) = match token {
            Some(token) => {
                let (sender, receiver) = mpsc::channel(PROGRESS_MAX);
                (Some((token, sender)), Some(receiver))
            }
            None => (None, None),
        };
        let id = {
            let mut table = self.lock();
            if table.open.len() >= open_max {
                return Err(CannotAsk);
            }
            table.last_id += 1;
            let id = table.last_id;
            let counted = Keeping::new(Kept::Question);
            table.open.insert(id, Open { answer: sender, asked_as, progress, _counted: counted });
            id
        };
        // From here on the entry goes with the question.
        let question = Question {
            questions: self.clone(),
            stream: stream.clone(),
            elsewhere: None,
            id,
            answer,
            progress: told,
            settled: false,
        };
        match tokio::time::timeout(READER_PATIENCE, stream.send(write(id))).await {
            Ok(Ok(())) => Ok(question),
            Ok(Err(_)) | Err(_) => Err(CannotAsk),
        }
    }

    /// The client answered. An answer to nothing is ignored: the question may have been withdrawn just now.
    pub(crate) fn answered(&self, response: Message) {
        let open = response.id_u64().and_then(|id| self.lock().open.remove(&id));
        if let Some(open) = open {
            let _ = open.answer.send(Some(response));
        }
    }

    /// The client told of its progress with a question. What comes faster than the server takes it is lost.
    pub(crate) fn progressed(&self, notification: &Message) {
        if notification.method() != methods::NOTIFICATIONS_PROGRESS {
            return;
        }
        let Some(span) = notification.member(meta::PROGRESS_TOKEN) else { return };
        let id = std::str::from_utf8(span.of(notification.bytes())).ok().and_then(|id| id.parse().ok());
        let wanted = id.and_then(|id: u64| self.lock().open.get(&id)?.progress.clone());
        if let Some((token, told)) = wanted
            && let Some(message) = numbers(notification, &token)
        {
            let _ = told.try_send(message);
        }
    }

    /// A server takes back what it has asked (`notifications/cancelled`). What it has not asked here is none of this client's.
    pub(crate) fn taken_back(&self, server: &ServerId, raw_id: &[u8]) {
        let open = {
            let mut table = self.lock();
            let is_it = |open: &Open| {
                open.asked_as.as_ref().is_some_and(|(asks, id)| asks == server && id[..] == *raw_id)
            };
            let id = table.open.iter().find(|(_, open)| is_it(open)).map(|(id, _)| *id);
            id.and_then(|id| table.open.remove(&id))
        };
        if let Some(open) = open {
            let _ = open.answer.send(None);
        }
    }

    /// Nobody waits for this answer any more.
    fn withdraw(&self, id: u64) {
        self.lock().open.remove(&id);
    }

    /// The client has gone: nothing will be answered.
    pub(crate) fn close(&self) {
        let open = std::mem::take(&mut self.lock().open);
        drop(open);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Progress as a server hears of it: its own token, and how far the client has come. A client may add a text to it, and may
/// leave it out (all revisions, progress). It is left out: what a client says to a server is on record before it leaves, and
/// this is said too often, and means too little, to have an intent each time.
fn numbers(notification: &Message, token: &[u8]) -> Option<Segments> {
    let number = |member| {
        let span = notification.member(member)?;
        (notification.kind_of(span) == JsonKind::Number).then(|| span.of(notification.bytes()))
    };
    let mut members = vec![(meta::PROGRESS_TOKEN, token), ("progress", number("progress")?)];
    members.extend(number("total").map(|total| ("total", total)));
    let params = compose::object(&members);
    Some(Segments::from(compose::notification(methods::NOTIFICATIONS_PROGRESS, Some(&params))))
}

impl Question {
    /// What is heard next.
    pub(crate) async fn heard(&mut self) -> Heard {
        let progress = async {
            match &mut self.progress {
                Some(progress) => progress.recv().await,
                None => None,
            }
        };
        tokio::select! {
            biased;
            Some(told) = progress => Heard::Progress(told),
            answer = &mut self.answer => {
                match answer {
                    Ok(Some(response)) => {
                        self.settled = true;
                        Heard::Answer(response)
                    }
                    Ok(None) => Heard::TakenBack,
                    Err(_) => Heard::Nothing,
                }
            }
        }
    }

    /// The client's response; none if the question was withdrawn, or the client has gone.
    pub(crate) async fn answered(&mut self) -> Option<Message> {
        loop {
            match self.heard().await {
                Heard::Progress(_) => {}
                Heard::Answer(response) => return Some(response),
                Heard::TakenBack | Heard::Nothing => return None,
            }
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.questions.withdraw(self.id);
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"{}\",\"params\":{{\"requestId\":{},\"reason\":\"Nobody waits for the answer any more.\"}}}}",
            methods::NOTIFICATIONS_CANCELLED,
            self.id
        );
        let text = Segments::from(Bytes::from(text));
        // A client that reads too slowly finds its answer ignored.
        if self.stream.push(text.clone()).is_err()
            && let Some(elsewhere) = &self.elsewhere
        {
            let _ = elsewhere.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;
    use tollgate_model::{Holder, ServerName};

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).expect("a message")
    }

    fn write(id: u64) -> Segments {
        Segments::from(Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"roots/list"}}"#)))
    }

    fn waits(raw_id: &'static [u8], token: Option<&'static [u8]>) -> Waits {
        let name = ServerName::new("s").expect("a name");
        let server = ServerId::new(Holder::default(), name);
        Waits { server, raw_id: Bytes::from_static(raw_id), token: token.map(Bytes::from_static) }
    }

    #[tokio::test]
    async fn a_server_takes_back_what_it_has_asked_and_nothing_else() {
        let (questions, stream) = (Questions::default(), Mailbox::new(8));
        let mut one = questions.ask(&stream, 2, Some(waits(b"\"q\"", None)), write).await.expect("room");
        let mut two = questions.ask(&stream, 2, Some(waits(b"7", None)), write).await.expect("room");
        let server = waits(b"7", None).server;
        let other = ServerId::new(Holder::default(), ServerName::new("other").expect("a name"));
        questions.taken_back(&other, b"7");
        questions.taken_back(&server, b"\"7\"");
        questions.taken_back(&server, b"\"q\"");
        assert!(matches!(one.heard().await, Heard::TakenBack));
        questions.answered(message(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
        assert!(matches!(two.heard().await, Heard::Answer(_)));
    }

    #[tokio::test]
    async fn an_answer_reaches_the_question_it_is_for_and_no_other() {
        let (questions, stream) = (Questions::default(), Mailbox::new(8));
        let mut one = questions.ask(&stream, 2, None, write).await.expect("room");
        let mut two = questions.ask(&stream, 2, None, write).await.expect("room");
        assert_eq!(questions.ask(&stream, 2, None, write).await.err(), Some(CannotAsk), "bounded");
        questions.answered(message(r#"{"jsonrpc":"2.0","id":2,"result":{"two":1}}"#));
        questions.answered(message(r#"{"jsonrpc":"2.0","id":2,"result":{"again":1}}"#));
        questions.answered(message(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#));
        questions.answered(message(r#"{"jsonrpc":"2.0","id":1,"result":{"one":1}}"#));
        assert!(one.answered().await.expect("an answer").member("one").is_some());
        assert!(two.answered().await.expect("an answer").member("two").is_some());
        drop((one, two));
        assert_eq!([stream.pop().is_some(), stream.pop().is_some(), stream.pop().is_none()], [true; 3]);
        assert!(questions.lock().open.is_empty());
    }

    #[tokio::test]
    async fn of_progress_a_server_hears_nothing_that_is_not_a_number() {
        let (questions, stream) = (Questions::default(), Mailbox::new(8));
        let waits = Some(waits(b"1", Some(b"\"own\"")));
        let mut question = questions.ask(&stream, 2, waits, write).await.expect("room");
        let progress = |params: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":1,{params}}}}}"#
            );
            questions.progressed(&message(&text));
        };
        progress(r#""progress":"a text""#);
        progress(r#""message":"a text","progress":0.50,"total":2e0,"x":"more","_meta":{"k":"more"}"#);
        let Heard::Progress(told) = question.heard().await else { panic!("progress") };
        assert_eq!(
            told.into_bytes(),
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"own","progress":0.50,"total":2e0}}"#
        );
    }

    #[tokio::test]
    async fn a_question_that_is_dropped_is_withdrawn_at_the_client() {
        let (questions, stream) = (Questions::default(), Mailbox::new(8));
        let question = questions.ask(&stream, 2, None, write).await.expect("room");
        drop(question);
        stream.pop().expect("the question");
        let told = stream.pop().expect("a cancellation").into_bytes();
        let told = message(std::str::from_utf8(&told).expect("UTF-8"));
        assert_eq!(told.method(), methods::NOTIFICATIONS_CANCELLED);
        assert!(questions.lock().open.is_empty());
    }

    #[tokio::test]
    async fn nobody_is_asked_on_a_stream_that_has_ended() {
        let (questions, stream) = (Questions::default(), Mailbox::new(8));
        stream.close();
        assert_eq!(questions.ask(&stream, 2, None, write).await.err(), Some(CannotAsk));
        assert!(questions.lock().open.is_empty());
    }
}
