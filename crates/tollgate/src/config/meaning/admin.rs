//! What the section of administration means.

use std::sync::Arc;
use std::time::Duration;

use tollgate_admin::{AdminSettings, Grant, Role, RoleRule};
use tollgate_identity::{ClaimPath, SignInSettings};
use tollgate_model::TenantId;
use url::Url;

use super::{Meaning, is_bare, is_loopback, shown};
use crate::config::forms::{Items, Several};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::section::{AdminSection, RoleSection, SignInSection};

impl Meaning<'_> {
    /// How people administer.
    pub(super) fn admin(
        &mut self,
        section: Option<&AdminSection>,
        place: &Place<'_>,
        tenants: &[TenantId],
    ) -> AdminSettings {
        let mut settings = AdminSettings::default();
        let Some(section) = section else { return settings };
        settings.public_url = section.public_url.as_deref().and_then(|url| {
            let place = place.key("public_url");
            match Url::parse(url) {
                Ok(parsed)
                    if is_bare(&parsed)
                        && (parsed.scheme() == "https"
                            || (parsed.scheme() == "http" && is_loopback(&parsed))) =>
                {
                    Some(Arc::from(parsed.origin().ascii_serialization()))
                }
                _ => {
                    let message = format!("{} is no address of a console", shown(&place, url));
                    let suggestion = "write scheme and host only: `https://tollgate-admin.example.com`";
                    self.problems.error_with(&place, message, suggestion);
                    None
                }
            }
        });
        let sign_in_place = place.key("sign_in");
        settings.sign_in = section.sign_in.as_ref().and_then(|section| self.sign_in(section, &sign_in_place));
        for (index, role) in Items::iter(section.roles.as_ref()) {
            let place = place.key("roles").item(index);
            settings.roles.extend(self.role_rule(role, &place, tenants));
        }
        if section.sign_in.is_some() && settings.roles.is_empty() && !self.problems.below(&place.path) {
            let suggestion = Some("add `roles`: `{ role: admin, groups: [platform] }`".to_owned());
            self.problems.warning(&sign_in_place, "whoever signs in may nothing", suggestion);
        }
        let span = |ms: Option<u64>, default: Duration| ms.map_or(default, Duration::from_millis);
        settings.session_max = span(section.session_ms_max, settings.session_max);
        settings.session_idle = span(section.session_idle_ms, settings.session_idle);
        settings
    }

    fn sign_in(&mut self, section: &SignInSection, place: &Place<'_>) -> Option<SignInSettings> {
        let issuer = self.required(section.issuer.as_deref(), "issuer", place);
        let client_id = self.required(section.client_id.as_deref(), "client_id", place);
        let (issuer, client_id) = (issuer?, client_id?);
        let private = section.allow_private_addresses == Some(true);
        self.issuer_url(&issuer, private, &place.key("issuer"))?;
        let mut settings = SignInSettings::new(&issuer, &client_id);
        settings.issuer.allow_private_addresses = private;
        if let Some(secret) = &section.client_secret {
            settings.client_secret = Some(self.secret(&secret.0, &place.key("client_secret"))?);
        }
        if let Some(scopes) = &section.scopes {
            settings.scopes.clear();
            for (index, scope) in Items::iter(Some(scopes)) {
                let place = place.key("scopes").item(index);
                if !tollgate_identity::names::is_scope(scope) {
                    self.problems.error(&place, format!("{} is no scope", shown(&place, scope)));
                }
                settings.scopes.push(Arc::from(scope.as_str()));
            }
        }
        settings.issuer.ca_pem = section.ca_file.as_deref().and_then(|path| {
            let place = place.key("ca_file");
            self.files.authorities(path).map_err(|reason| self.problems.error(&place, reason)).ok()
        });
        let mut set = |target: &mut Vec<ClaimPath>, written: Option<&Several>, key: &str| {
            let Some(written) = written else { return };
            let place = place.key(key);
            *target = written.iter().filter_map(|(_, text)| self.claim_path(text, &place)).collect();
        };
        set(&mut settings.issuer.claims.user, section.user.as_ref(), "user");
        set(&mut settings.issuer.claims.groups, section.groups.as_ref(), "groups");
        set(&mut settings.name, section.name.as_ref(), "name");
        Some(settings)
    }

    fn role_rule(
        &mut self,
        section: &RoleSection,
        place: &Place<'_>,
        tenants: &[TenantId],
    ) -> Option<RoleRule> {
        let names = |names: Option<&Items<String>>| -> Vec<Arc<str>> {
            Items::iter(names).map(|(_, name)| Arc::from(name.as_str())).collect()
        };
        let (users, groups) = (names(section.users.as_ref()), names(section.groups.as_ref()));
        if users.is_empty() && groups.is_empty() && !self.problems.below(&place.path) {
            self.problems.error_with(place, "names nobody", "add `users` or `groups`");
        }
        let mut wheres = Vec::new();
        for (index, tenant) in Items::iter(section.tenants.as_ref()) {
            wheres.push(Some(self.known_tenant(Some(tenant), tenants, &place.key("tenants").item(index))));
        }
        if wheres.is_empty() {
            wheres.push(None);
        }
        let Some(written) = &section.role else {
            if !self.problems.below(&place.path) {
                self.problems.error(place, "`role` is missing");
            }
            return None;
        };
        let mut grants = Vec::new();
        let role_place = place.key("role");
        for (index, text) in written.iter() {
            let item = role_place.item(index);
            let place = if item.node.is_some() { &item } else { &role_place };
            let Some(role) = Role::read(text) else {
                let known = Role::ALL.map(Role::as_str);
                let message = format!("{} is no role", shown(place, text));
                let meant = closest(text, known.iter().copied());
                let suggestion = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("one of {}", known.join(", ")),
                };
                self.problems.error_with(place, message, suggestion);
                continue;
            };
            grants.extend(wheres.iter().map(|tenant| Grant { role, tenant: tenant.clone() }));
        }
        Some(RoleRule { users, groups, grants })
    }
}
