//! `tollgate policy who-can`: whom the rules could allow a tool. Users and groups are nobody's list, so the answer is the
//! rules' own words, and the API keys that are known.

use serde_json::{Value, json};
use tollgate_model::{KeyRecord, TenantId, Timestamp};
use tollgate_policy::{About, PolicySet};

use super::ask::{self, Circumstances};
use super::explain::{head, info_json};
use super::setting::Setting;
use super::target::{self, Kind, Target};
use super::who::Who;
use crate::cli::policy::PolicyWhoCan;
use crate::exit::Failure;
use crate::out::{Printer, To, safe};

/// Says whom.
pub(crate) async fn run(command: &PolicyWhoCan) -> Result<(), Failure> {
    let setting = Setting::open(&command.basis).await?;
    setting.need_policies()?;
    let id = command.tenant.as_deref().map(TenantId::new).unwrap_or_default();
    let tenant = setting.tenant(&id)?;
    let target = target::find(&tenant.known, Kind::Tool, command.server.as_deref(), &command.tool)?;
    let set = setting.lenient(tenant, None)?;
    let rules = set.about_tool(&target.server, &target.native);
    let keys = keys(&setting, &set, &id, &target)?;

    let out = Printer::new(To::Out);
    if command.json {
        let rules: Vec<Value> = rules.iter().map(about_json).collect();
        let keys: Vec<Value> =
            keys.iter().map(|key| json!({ "id": key.id.as_str(), "agent": &*key.agent })).collect();
        out.line(json!({ "tool": target.to_string(), "rules": rules, "keys": keys }).to_string());
        return Ok(());
    }
    let count = rules.iter().filter(|about| about.rule.is_permit).count();
    if count == 0 {
        out.line(format!("nobody: no permit is about {}", safe(&target.to_string())));
    }
    section(out, &setting, "allowed by", rules.iter().filter(|about| about.rule.is_permit));
    section(out, &setting, "forbidden by", rules.iter().filter(|about| !about.rule.is_permit));
    if !keys.is_empty() {
        out.line("");
        out.line(out.bold("known keys that could be allowed, now and from anywhere"));
        for key in keys {
            let text = format!("{} (agent {})", key.id.as_str(), key.agent);
            out.line(format!("  {}", safe(&text)));
        }
    }
    Ok(())
}

/// The known keys whose agents see the tool now. What depends on where a call comes from is not known here.
pub(super) fn keys<'s>(
    setting: &'s Setting,
    set: &PolicySet,
    tenant: &TenantId,
    target: &Target,
) -> Result<Vec<&'s KeyRecord>, Failure> {
    let now = Timestamp::now();
    let circumstances = Circumstances::now();
    let mut found = Vec::new();
    for key in setting.keys.iter().filter(|key| key.tenant == *tenant && key.is_good(now)) {
        let principal = Who::from(key).principal()?;
        if ask::is_listed(set, &principal, target, &circumstances) {
            found.push(key);
        }
    }
    Ok(found)
}

pub(super) fn section<'a>(
    out: Printer,
    setting: &Setting,
    title: &str,
    rules: impl Iterator<Item = &'a About>,
) {
    let rules: Vec<&About> = rules.collect();
    if rules.is_empty() {
        return;
    }
    out.line(out.bold(title));
    for about in rules {
        head(out, setting, &about.rule);
        let who = about.principal.as_deref().unwrap_or("anybody");
        out.line(format!("      who   {}", safe(who)));
        for condition in &about.conditions {
            out.line(format!("      when  {}", safe(condition)));
        }
    }
}

pub(super) fn about_json(about: &About) -> Value {
    let mut object = info_json(&about.rule);
    object["principal"] = about.principal.as_deref().into();
    object["conditions"] = about.conditions.clone().into();
    object
}
