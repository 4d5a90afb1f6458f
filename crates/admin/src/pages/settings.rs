//! How the gateway is set up, and how its parts do.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Shell, error, page};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{May, ReadLedger, ReadSettings};
use crate::shelf;

const HERE: &str = "/settings";

#[derive(Debug, Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    settings: Vec<(&'static str, String)>,
    health: String,
    may_verify: bool,
    verdict: Option<(bool, String)>,
}

fn shown(
    plane: &Shared,
    may: &May<ReadSettings>,
    verdict: Option<(bool, String)>,
) -> Result<SettingsPage, Problem> {
    may.over(None)?;
    let configured = plane.parts()?.configured;
    let health = serde_json::to_string_pretty(&plane.snapshot().to_json()).unwrap_or_default();
    let ledger = May::<ReadLedger>::check(may.who.clone());
    Ok(SettingsPage {
        shell: Shell::of(&may.who, HERE),
        settings: configured.settings.clone(),
        health,
        may_verify: ledger.is_ok_and(|may| may.is_everywhere()),
        verdict,
    })
}

pub(super) async fn show(may: May<ReadSettings>, State(plane): State<Shared>) -> Response {
    shown(&plane, &may, None).map_or_else(|problem| error(&problem), |shown| page(&shown))
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn verify(
    State(plane): State<Shared>,
    Posted { may, .. }: Posted<ReadLedger, Nothing>,
) -> Response {
    let found = async {
        may.over(None)?;
        let report = shelf::verify(&plane).await?;
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        let settings = May::<ReadSettings>::check(may.who.clone())?;
        shown(&plane, &settings, Some((report.is_good(), text)))
    };
    found.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}
