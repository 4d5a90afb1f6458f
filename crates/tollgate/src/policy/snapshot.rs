//! `tollgate policy snapshot`: asks the servers for their tools, once, and writes down what they say.

use bytes::Bytes;
use tokio::task::JoinSet;
use tollgate_model::{ServerId, Timestamp};
use tollgate_upstream::ServerSettings;

use super::catalog::Catalog;
use super::setting::{read_config, with_registered};
use super::stored;
use crate::cli::policy::PolicySnapshot;
use crate::client::Client;
use crate::config::{Config, ProcessEnv};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};

/// How many servers are asked at once.
const ASKED_MAX: usize = 8;

/// Writes the catalogue. Servers that do not answer are left without tools, and said so.
pub(crate) async fn run(command: &PolicySnapshot) -> Result<(), Failure> {
    let config = read_config(&command.config)?;
    let (catalog, silent, of) = if command.stored {
        let store = stored::open(&config, command.data_dir.as_deref()).await?;
        let data_dir = command.data_dir.clone().unwrap_or_else(|| config.data_dir.clone());
        let config = Box::pin(with_registered(Config { data_dir, ..config }, None)).await;
        (stored::catalog(&*store, &config).await?, 0, 0)
    } else {
        let servers = Box::pin(with_registered(config, Some(&ProcessEnv))).await.servers;
        let (catalog, silent) = ask(&servers).await;
        (catalog, silent, servers.len())
    };
    let text = catalog.to_json();
    match &command.output {
        Some(file) => std::fs::write(file, &text)
            .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", file.display())))?,
        None => Printer::new(To::Out).line(text.trim_end()),
    }
    match silent {
        0 => Ok(()),
        _ => Err(Failure::unavailable(format!("{silent} of {of} servers did not say what tools they have"))),
    }
}

/// Asks all servers, and says how many did not answer.
async fn ask(servers: &[ServerSettings]) -> (Catalog, usize) {
    let mut catalog = Catalog { saved: Timestamp::now(), ..Catalog::default() };
    let mut waiting = servers.iter();
    let mut asked = JoinSet::new();
    let mut silent = 0;
    loop {
        while asked.len() < ASKED_MAX
            && let Some(server) = waiting.next()
        {
            asked.spawn(tools(server.clone()));
        }
        let Some(ended) = asked.join_next().await else { return (catalog, silent) };
        // A task fails only by a panic, which has been told.
        let Ok((server, tools)) = ended else { continue };
        if let Err(failure) = &tools {
            let err = Printer::new(To::Err);
            err.line(format!("{} {}: {}", err.red("missing:"), server.label(), safe(&failure.text)));
            silent += 1;
        }
        catalog.servers.insert(server, tools.ok());
    }
}

async fn tools(settings: ServerSettings) -> (ServerId, Result<Vec<Bytes>, Failure>) {
    let id = settings.id();
    let tools = async {
        let client = Client::of(settings).await?;
        let tools = client.tools(|_| {}).await;
        client.close().await;
        Ok(tools?)
    };
    (id, tools.await)
}
