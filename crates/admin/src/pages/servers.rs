//! Servers: how they do, and what they last listed.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use tollgate_store::List;

use super::{Shell, error, page};
use crate::api::servers::{ServerView, definitions, servers};
use crate::front::Shared;
use crate::roles::{May, ReadServers, ReadTools};

const HERE: &str = "/servers";

#[derive(Debug, Template)]
#[template(path = "servers.html")]
struct Servers {
    shell: Shell,
    servers: Vec<ServerView>,
}

pub(super) async fn show(may: May<ReadServers>, State(plane): State<Shared>) -> Response {
    page(&Servers { shell: Shell::of(&may.who, HERE), servers: servers(&plane, &may) })
}

#[derive(Debug, Template)]
#[template(path = "server.html")]
struct ServerPage {
    shell: Shell,
    server: ServerView,
    lists: Vec<Listed>,
}

/// What a server last listed of one kind.
#[derive(Debug)]
struct Listed {
    title: &'static str,
    seen: String,
    items: Vec<Item>,
}

/// What a server says of one thing: its own words.
#[derive(Debug)]
struct Item {
    name: String,
    description: String,
    whole: String,
}

impl Item {
    fn of(item: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(item).unwrap_or_default();
        let text = |names: [&str; 2]| {
            names.iter().find_map(|name| value[*name].as_str()).unwrap_or_default().to_owned()
        };
        Self {
            name: text(["name", "uri"]),
            description: text(["description", "title"]),
            whole: serde_json::to_string_pretty(&value).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    name: String,
    tenant: Option<String>,
}

pub(super) async fn one(
    may: May<ReadServers>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    let tenant = which.tenant.filter(|tenant| !tenant.is_empty());
    let found = servers(&plane, &may).into_iter().find(|one| one.name == which.name && one.tenant == tenant);
    let Some(server) = found else {
        return error(&crate::problem::Problem::not_found("There is no such server, or you may not see it."));
    };
    let mut lists = Vec::new();
    if let Ok(tools) = May::<ReadTools>::check(may.who.clone()) {
        for (list, title) in [
            (List::Tools, "Tools"),
            (List::Prompts, "Prompts"),
            (List::Resources, "Resources"),
            (List::ResourceTemplates, "Resource templates"),
        ] {
            let of = (tenant.as_deref(), which.name.as_str(), list);
            if let Ok(found) = definitions(&plane, &tools, of).await {
                let items = found.items.iter().map(|item| Item::of(item)).collect();
                lists.push(Listed { title, seen: found.seen.to_string(), items });
            }
        }
    }
    page(&ServerPage { shell: Shell::of(&may.who, HERE), server, lists })
}
