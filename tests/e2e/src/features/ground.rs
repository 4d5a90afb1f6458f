//! What the matrix stands on: the servers, the gateway in front of them, and the drivers of the client libraries.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::process::Child;
use tokio::sync::{Mutex, Semaphore};

use super::{Feature, Language, Pair, Proof, Transport, Verdict, Way};
use crate::clients::{Driver, Library};
use crate::gateway::{Gateway, binary, servers, with};
use crate::places::{installed, node, script};
use crate::samples::listening;

const LANGUAGES: [Language; 2] = [Language::TypeScript, Language::Python];

/// How many cells are shown at once.
const AT_ONCE: usize = 3;
/// How long a cell may take.
const JOB_S: u64 = 60;

/// The servers, the gateway and the drivers.
pub struct Ground {
    /// In front of one server per way, each under the name of its way.
    pub gateway: Gateway,
    entries: HashMap<String, Value>,
    drivers: Vec<(Library, Mutex<Driver>)>,
    turns: Semaphore,
    _servers: Vec<Child>,
}

impl Ground {
    /// Starts everything.
    pub async fn new() -> Arc<Self> {
        let mut children = Vec::new();
        let mut entries = HashMap::new();
        for (way, language) in Way::ALL.into_iter().flat_map(|way| LANGUAGES.map(|language| (way, language)))
        {
            let [program, file] = program(way, language);
            let entry = match way.transport {
                Transport::Stdio => json!({ "command": program, "args": [file, "stdio"] }),
                Transport::Http => {
                    let (child, url) = listening(&[&program, &file, "http"]).await;
                    children.push(child);
                    json!({ "url": url, "transport": "http" })
                }
                Transport::Sse => {
                    let (child, url) = listening(&[&program, &file, "sse"]).await;
                    children.push(child);
                    json!({ "url": url, "transport": "sse" })
                }
            };
            let entry = with(&entry, json!({ "backoff_ms_min": 50, "backoff_ms_max": 500 }));
            entries.insert(way.server(language), entry);
        }
        let config = servers(entries.iter().map(|(name, entry)| (name.as_str(), entry.clone())));
        let gateway = Gateway::start(&config).await;
        let drivers = Library::ALL.into_iter().map(|library| (library, Mutex::new(Driver::start(library))));
        Arc::new(Self {
            gateway,
            entries,
            drivers: drivers.collect(),
            turns: Semaphore::new(AT_ONCE),
            _servers: children,
        })
    }

    /// The configuration of a pair's server.
    ///
    /// # Panics
    /// If there is none.
    pub fn entry(&self, pair: Pair) -> Value {
        self.entries.get(&pair.name()).cloned().expect("each way has a server")
    }

    /// How the client of a pair reaches the gateway: `connect` of a job.
    pub fn connect(&self, pair: Pair, library: Library) -> Value {
        let (base, server) = (self.gateway.listen, pair.name());
        let mut connect = match pair.client.transport {
            Transport::Http => json!({ "url": format!("http://{base}/mcp/{server}") }),
            Transport::Sse => json!({ "sse": format!("http://{base}/sse/{server}") }),
            Transport::Stdio => {
                json!({ "command": [binary(), "connect", format!("http://{base}/mcp/{server}")] })
            }
        };
        if !pair.client.is_modern() && library.is_modern() {
            connect["mode"] = json!("legacy");
        }
        connect
    }

    /// Shows one cell. `turn` chooses among the libraries that can.
    pub async fn show(&self, feature: &Feature, pair: Pair, turn: usize) -> Verdict {
        let Ok(_turn) = self.turns.acquire().await else { return Err("no turn".to_owned()) };
        match feature.proof {
            Proof::Raw(proof) => proof(self, pair).await,
            Proof::Job { by, job, judge } => {
                let libraries = by(pair.client);
                let library = libraries[turn % libraries.len()];
                let mut wanted = job(pair);
                let answers = wanted["answers"].take();
                wanted["id"] = json!(pair.to_string());
                wanted["timeoutS"] = json!(JOB_S);
                wanted["connect"] = self.connect(pair, library);
                if answers.is_object() {
                    wanted["connect"]["answers"] = answers;
                }
                let answer = self.job(library, &wanted).await;
                let spoken = if pair.client.is_modern() { "2026-07-28" } else { "" };
                if answer["error"].is_null() && !spoken.is_empty() && answer["protocol"] != spoken {
                    return Err(format!("{library:?} speaks {}", answer["protocol"]));
                }
                judge(pair, &answer)
                    .map_err(|problem| format!("{library:?}: {problem}\n    {}", shown(&answer)))
            }
        }
    }

    /// Has the driver of a library do a job.
    ///
    /// # Panics
    /// If the library has no driver.
    pub async fn job(&self, library: Library, wanted: &Value) -> Value {
        let driver =
            self.drivers.iter().find(|(one, _)| *one == library).expect("every library has a driver");
        driver.1.lock().await.job(wanted).await
    }
}

/// What runs a server, and its file.
fn program(way: Way, language: Language) -> [String; 2] {
    let generation = if way.is_modern() { "v2" } else { "v1" };
    match language {
        Language::TypeScript => [node(), script(&format!("servers/contract_{generation}.mjs"))],
        Language::Python => {
            let folder = if way.is_modern() { "python-modern" } else { "python-legacy" };
            let interpreter = installed(&format!("{folder}/bin/python"));
            [interpreter, script(&format!("servers/contract_{generation}.py"))]
        }
    }
}

/// An answer, short enough to be read.
fn shown(answer: &Value) -> String {
    let mut text = answer.to_string();
    if text.len() > 1500 {
        let end = (0..=1500).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}
