//! Who could call the tools of a server that is not served yet: for whoever is to approve it.

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_mcp::{Span, json as raw};
use tollgate_model::{ServerId, TenantId, Timestamp};
use tollgate_policy::{Mode, PolicySet};
use tollgate_store::Store;

use super::catalog::Catalog;
use super::setting::Setting;
use super::target::{Kind, Target};
use super::{stored, who_can};
use crate::config::Config;
use crate::exit::Failure;
use crate::out::{Printer, safe};

/// What the policies of a configuration say of a server's tools.
pub(crate) struct Callers {
    setting: Setting,
    set: PolicySet,
    tenant: TenantId,
    server: ServerId,
}

impl Callers {
    /// As if the server were served, with these tools. None where nothing is configured that decides.
    ///
    /// # Errors
    /// The policies cannot be used.
    pub(crate) async fn of(
        config: &Config,
        store: &dyn Store,
        (tenant, server): (&TenantId, &ServerId),
        tools: &[Bytes],
    ) -> Result<Option<Self>, Failure> {
        if !config.policies.are_configured {
            return Ok(None);
        }
        let mut catalog = stored::catalog(store, config)
            .await
            .unwrap_or_else(|_| Catalog { saved: Timestamp::now(), ..Catalog::default() });
        catalog.servers.insert(server.clone(), Some(tools.to_vec()));
        let mut setting = Setting::of(config, &catalog);
        setting.keys.extend(stored::keys(store).await?);
        let set = setting.lenient(setting.tenant(tenant)?, None)?;
        Ok(Some(Self { setting, set, tenant: tenant.clone(), server: server.clone() }))
    }

    /// The policies of a tenant as they would decide of a server that is not served yet, with these tools. Nothing is printed.
    ///
    /// # Errors
    /// The policies cannot be used.
    pub(crate) async fn set_of(
        config: &Config,
        store: &dyn Store,
        (tenant, server): (&TenantId, &ServerId),
        tools: &[Bytes],
    ) -> Result<PolicySet, String> {
        let mut catalog = stored::catalog(store, config)
            .await
            .unwrap_or_else(|_| Catalog { saved: Timestamp::now(), ..Catalog::default() });
        catalog.servers.insert(server.clone(), Some(tools.to_vec()));
        let (config, tenant) = (config.clone(), tenant.clone());
        // It may be about thousands of tools.
        let compiled = tokio::task::spawn_blocking(move || {
            let setting = Setting::of(&config, &catalog);
            let tenant = setting.tenant(&tenant).map_err(|failure| failure.text)?;
            let compiled = setting.compile(tenant, setting.environment.as_deref(), Mode::Accepted);
            compiled.map(|compiled| compiled.set).map_err(|_| "the policies cannot be used".to_owned())
        });
        compiled.await.map_err(|error| error.to_string())?
    }

    fn target(&self, tool: &Bytes) -> Option<Target> {
        let name = raw::text(tool, raw::find(tool, Span::all(tool), "name")?)?;
        Some(Target { kind: Kind::Tool, server: self.server.name().clone(), native: name.into_owned() })
    }

    /// As people read it.
    ///
    /// # Errors
    /// A known key is none that could call.
    pub(crate) fn print(&self, out: Printer, tool: &Bytes) -> Result<(), Failure> {
        let Some(target) = self.target(tool) else { return Ok(()) };
        let rules = self.set.about_tool(&target.server, &target.native);
        if !rules.iter().any(|about| about.rule.is_permit) {
            out.line("    nobody: no permit is about it");
        }
        let of = |is_permit: bool| rules.iter().filter(move |about| about.rule.is_permit == is_permit);
        who_can::section(out, &self.setting, "    allowed by", of(true));
        who_can::section(out, &self.setting, "    forbidden by", of(false));
        for key in who_can::keys(&self.setting, &self.set, &self.tenant, &target)? {
            out.line(format!("    key {} (agent {}) could call it", safe(key.id.as_str()), safe(&key.agent)));
        }
        Ok(())
    }

    /// As programs read it.
    ///
    /// # Errors
    /// As for people.
    pub(crate) fn json(&self, tool: &Bytes) -> Result<Value, Failure> {
        let Some(target) = self.target(tool) else { return Ok(Value::Null) };
        let rules: Vec<Value> =
            self.set.about_tool(&target.server, &target.native).iter().map(who_can::about_json).collect();
        let keys = who_can::keys(&self.setting, &self.set, &self.tenant, &target)?;
        let keys: Vec<Value> =
            keys.iter().map(|key| json!({ "id": key.id.as_str(), "agent": &*key.agent })).collect();
        Ok(json!({ "rules": rules, "keys": keys }))
    }
}
