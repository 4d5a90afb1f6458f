//! What the section of identity means.

use std::sync::Arc;
use std::time::Duration;

use tollgate_identity::{
    Algorithm, AnonymousSettings, CertificatePart, CertificateRule, ClaimPath, ClaimSettings,
    IdentitySettings, IntrospectionSettings, IssuerSettings, TenantSource, names,
};
use tollgate_model::{KeyHash, KeyId, KeyRecord, TenantId, Timestamp};
use url::Url;

use super::{ClientFiles, Meaning, is_loopback, shown};
use crate::config::forms::{Items, Several};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::section::{
    AlgorithmSection, CertificateSection, ClaimsSection, ConfigSection, IdentitySection,
    IntrospectionSection, IssuerSection, KeySection,
};

impl Meaning<'_> {
    /// How callers are known. Without the section they are not.
    pub(super) fn identity(
        &mut self,
        section: Option<&IdentitySection>,
        place: &Place<'_>,
        tenants: &[TenantId],
    ) -> IdentitySettings {
        let mut settings = IdentitySettings { tenants: tenants.to_vec(), ..IdentitySettings::default() };
        let Some(section) = section else { return settings };
        settings.configured = true;
        if let Some(anonymous) = &section.anonymous {
            let place = place.key("anonymous");
            settings.anonymous = Some(AnonymousSettings {
                tenant: self.known_tenant(anonymous.tenant.as_deref(), tenants, &place.key("tenant")),
                groups: self.group_names(anonymous.groups.as_ref(), &place.key("groups")),
            });
        }
        for (index, key) in Items::iter(section.keys.as_ref()) {
            let place = place.key("keys").item(index);
            if let Some(key) = self.key(key, &place, tenants, &settings.keys) {
                settings.keys.push(key);
            }
        }
        for (index, issuer) in Items::iter(section.issuers.as_ref()) {
            let place = place.key("issuers").item(index);
            if let Some(issuer) = self.issuer(issuer, &place, tenants, &settings.issuers) {
                settings.issuers.push(issuer);
            }
        }
        if let Some(certificates) = &section.certificates {
            let place = place.key("certificates").key("map");
            for (index, rule) in Items::iter(certificates.map.as_ref()) {
                if let Some(rule) = self.certificate_rule(rule, &place.item(index), tenants) {
                    settings.certificates.push(rule);
                }
            }
        }
        settings.scopes = self.scopes(section.scopes.as_ref(), &place.key("scopes"));
        let failures = &mut settings.failures;
        failures.max = section.failures_max.unwrap_or(failures.max);
        failures.window = section.failures_window_ms.map_or(failures.window, Duration::from_millis);
        failures.sources_max = section.failures_sources_max.unwrap_or(failures.sources_max);
        settings.remembered_max = section.remembered_max.unwrap_or(settings.remembered_max);
        settings
    }

    /// Whose certificates clients may show.
    pub(super) fn client_certificates(
        &mut self,
        section: &ConfigSection,
        root: &Place<'_>,
    ) -> Option<ClientFiles> {
        let certificates = section.identity.as_ref()?.certificates.as_ref()?;
        let place = root.key("identity").key("certificates");
        if section.tls.is_none() && !self.problems.below("tls") {
            self.problems.error_with(&place, "only TLS has client certificates", "add `tls`");
        }
        let ca_file = self.required(certificates.ca_file.as_deref(), "ca_file", &place)?;
        let ca_file = self.readable(&ca_file, &place.key("ca_file"))?;
        Some(ClientFiles { ca_file, required: certificates.required == Some(true) })
    }

    fn key(
        &mut self,
        section: &KeySection,
        place: &Place<'_>,
        tenants: &[TenantId],
        others: &[KeyRecord],
    ) -> Option<KeyRecord> {
        let id = self.required(section.id.as_deref(), "id", place)?;
        if let Err(reason) = names::check(&id) {
            self.problems.error(&place.key("id"), reason.to_string());
        }
        if others.iter().any(|other| other.id.as_str() == &*id) {
            self.problems.error(&place.key("id"), format!("`{id}` is already the id of another key"));
        }
        let agent = self.required(section.agent.as_deref(), "agent", place)?;
        self.caller_name(&agent, &place.key("agent"));
        let digest = self.required(section.sha256.as_deref(), "sha256", place)?;
        let hash_place = place.key("sha256");
        let Some(hash) = digest_of(&digest) else {
            let suggestion = "`tollgate keys hash` prints it";
            self.problems.error_with(&hash_place, "no SHA-256 digest in hexadecimal", suggestion);
            return None;
        };
        if others.iter().any(|other| other.hash == hash) {
            self.problems.error(&hash_place, "the digest of another key above");
        }
        let expires = section.expires.as_deref().and_then(|text| {
            let place = place.key("expires");
            let read = text.parse::<Timestamp>();
            read.map_err(|reason| self.problems.error(&place, format!("{}: {reason}", shown(&place, text))))
                .ok()
        });
        if expires.is_some_and(|expires| expires <= Timestamp::now()) {
            self.problems.warning(&place.key("expires"), "the key has expired", None);
        }
        Some(KeyRecord {
            id: KeyId::new(&id),
            tenant: self.known_tenant(section.tenant.as_deref(), tenants, &place.key("tenant")),
            agent,
            groups: self.group_names(section.groups.as_ref(), &place.key("groups")),
            hash,
            created: Timestamp::default(),
            expires,
            revoked: None,
            replaced_by: None,
        })
    }

    fn issuer(
        &mut self,
        section: &IssuerSection,
        place: &Place<'_>,
        tenants: &[TenantId],
        others: &[IssuerSettings],
    ) -> Option<IssuerSettings> {
        let text = self.required(section.issuer.as_deref(), "issuer", place)?;
        let private = section.allow_private_addresses == Some(true);
        let url = self.issuer_url(&text, private, &place.key("issuer"))?;
        if url.query().is_some() || url.fragment().is_some() {
            self.problems.error(&place.key("issuer"), "an issuer has no query and no fragment");
        }
        if others.iter().any(|other| other.issuer == text) {
            self.problems.error(&place.key("issuer"), "this issuer stands above already");
            return None;
        }
        let mut settings = IssuerSettings::new(&text);
        settings.allow_private_addresses = private;
        let jwks_place = place.key("jwks_uri");
        settings.jwks_uri =
            section.jwks_uri.as_deref().and_then(|uri| self.issuer_url(uri, private, &jwks_place));
        if let Some(introspection) = &section.introspection {
            let place = place.key("introspection");
            if others.iter().any(|other| other.introspection.is_some()) {
                self.problems.error(
                    &place,
                    "only one issuer can be asked about tokens that do not say whose they are",
                );
            }
            settings.introspection = self.introspection(introspection, &place, private);
        }
        let audiences_place = place.key("audiences");
        for (index, audience) in Items::iter(section.audiences.as_ref()) {
            self.plain_name(audience, &audiences_place.item(index));
            settings.audiences.push(Arc::from(audience.as_str()));
        }
        if let Some(algorithms) = &section.algorithms {
            settings.algorithms =
                Items::iter(Some(algorithms)).map(|(_, section)| algorithm(*section)).collect();
            let algorithms_place = place.key("algorithms");
            if settings.algorithms.is_empty() && !self.problems.below(&algorithms_place.path) {
                self.problems.error(&algorithms_place, "without an algorithm no token is accepted");
            }
        }
        if let Some(types) = &section.types {
            settings.types = Items::iter(Some(types)).map(|(_, text)| plain_type(text)).collect();
        }
        settings.clock_skew = section.clock_skew_ms.map_or(settings.clock_skew, Duration::from_millis);
        settings.ca_pem = section.ca_file.as_deref().and_then(|path| {
            let place = place.key("ca_file");
            self.files.authorities(path).map_err(|reason| self.problems.error(&place, reason)).ok()
        });
        settings.prefix = Arc::from(section.prefix.as_deref().unwrap_or_default());
        if !settings.prefix.is_empty() {
            self.plain_name(&settings.prefix, &place.key("prefix"));
        }
        settings.claims = self.claims(section.claims.as_ref(), &place.key("claims"));
        settings.tenant = self.tenant_source(section, place, tenants);
        self.fetching(&mut settings, section, place);
        if let Some(other) = others.iter().find(|other| may_be_confused(other, &settings)) {
            let message = format!("its tokens could name the same users as those of `{}`", other.issuer);
            let suggestion =
                "give both a `prefix`, neither of which begins with the other, or each a `tenant` of its own";
            self.problems.error_with(&place.key("prefix"), message, suggestion);
        }
        Some(settings)
    }

    fn fetching(&mut self, settings: &mut IssuerSettings, section: &IssuerSection, place: &Place<'_>) {
        let wait =
            |target: &mut Duration, ms: Option<u64>| *target = ms.map_or(*target, Duration::from_millis);
        let fetch = &mut settings.fetch;
        wait(&mut fetch.timeout, section.timeout_ms);
        fetch.body_bytes_max = section.body_bytes_max.unwrap_or(fetch.body_bytes_max);
        wait(&mut fetch.again_min, section.keys_again_ms_min);
        wait(&mut fetch.fresh, section.keys_fresh_ms);
        wait(&mut fetch.fresh_max, section.keys_fresh_ms_max);
        wait(&mut fetch.stale_max, section.keys_stale_ms_max);
        if fetch.fresh > fetch.fresh_max {
            let key = if section.keys_fresh_ms.is_some() { "keys_fresh_ms" } else { "keys_fresh_ms_max" };
            self.problems.error(&place.key(key), "`keys_fresh_ms` is longer than `keys_fresh_ms_max`");
        }
    }

    fn introspection(
        &mut self,
        section: &IntrospectionSection,
        place: &Place<'_>,
        private: bool,
    ) -> Option<IntrospectionSettings> {
        let client_id = self.required(section.client_id.as_deref(), "client_id", place)?;
        let secret_place = place.key("client_secret");
        let Some(secret) = &section.client_secret else {
            if !self.problems.below(&secret_place.path) {
                self.problems.error(place, "`client_secret` is missing");
            }
            return None;
        };
        let url_place = place.key("url");
        Some(IntrospectionSettings {
            url: section.url.as_deref().and_then(|url| self.issuer_url(url, private, &url_place)),
            client_id: client_id.to_string(),
            client_secret: self.secret(&secret.0, &secret_place)?,
            cache: Duration::from_millis(section.cache_ms.unwrap_or(60_000)),
        })
    }

    fn tenant_source(
        &mut self,
        section: &IssuerSection,
        place: &Place<'_>,
        tenants: &[TenantId],
    ) -> TenantSource {
        let claim_place = place.key("claims").key("tenant");
        let claim = section.claims.as_ref().and_then(|claims| claims.tenant.as_deref());
        let claim = claim.and_then(|text| self.claim_path(text, &claim_place));
        match claim {
            Some(_) if section.tenant.is_some() => {
                self.problems
                    .error(&place.key("tenant"), "either `tenant` or `claims.tenant` says whose callers are");
                TenantSource::Fixed(TenantId::default())
            }
            Some(claim) => TenantSource::Claim(claim),
            None => TenantSource::Fixed(self.known_tenant(
                section.tenant.as_deref(),
                tenants,
                &place.key("tenant"),
            )),
        }
    }

    fn claims(&mut self, section: Option<&ClaimsSection>, place: &Place<'_>) -> ClaimSettings {
        let mut claims = ClaimSettings::default();
        let Some(section) = section else { return claims };
        let mut set = |target: &mut Vec<ClaimPath>, written: Option<&Several>, key: &str| {
            let Some(written) = written else { return };
            let place = place.key(key);
            let paths = written.iter().filter_map(|(index, text)| {
                let item = place.item(index);
                let place = if item.node.is_some() { &item } else { &place };
                self.claim_path(text, place)
            });
            *target = paths.collect();
        };
        set(&mut claims.user, section.user.as_ref(), "user");
        set(&mut claims.agent, section.agent.as_ref(), "agent");
        set(&mut claims.groups, section.groups.as_ref(), "groups");
        set(&mut claims.agent_groups, section.agent_groups.as_ref(), "agent_groups");
        set(&mut claims.roles, section.roles.as_ref(), "roles");
        set(&mut claims.scopes, section.scopes.as_ref(), "scopes");
        claims
    }

    pub(super) fn claim_path(&mut self, text: &str, place: &Place<'_>) -> Option<ClaimPath> {
        let path = ClaimPath::read(text);
        if path.is_none() {
            let shown = shown(place, text);
            let suggestion = "write `groups`, `realm_access.roles` or `/resource_access/my.client/roles`";
            self.problems.error_with(place, format!("{shown} is no place of a claim"), suggestion);
        }
        path
    }

    fn certificate_rule(
        &mut self,
        section: &CertificateSection,
        place: &Place<'_>,
        tenants: &[TenantId],
    ) -> Option<CertificateRule> {
        let parts = [
            ("subject", CertificatePart::Subject, section.subject.as_deref()),
            ("dns", CertificatePart::Dns, section.dns.as_deref()),
            ("uri", CertificatePart::Uri, section.uri.as_deref()),
            ("email", CertificatePart::Email, section.email.as_deref()),
            ("spiffe", CertificatePart::Spiffe, section.spiffe.as_deref()),
        ];
        let mut written = parts.into_iter().filter_map(|(key, part, text)| Some((key, part, text?)));
        let (Some((key, part, pattern)), None) = (written.next(), written.next()) else {
            if !self.problems.below(&place.path) {
                let text = "needs exactly one of `subject`, `dns`, `uri`, `email` and `spiffe`";
                self.problems.error(place, text);
            }
            return None;
        };
        let stars = pattern.matches('*').count();
        if pattern.is_empty() || stars > 1 {
            self.problems.error(&place.key(key), "has one `*` at most, and is not empty");
        }
        if part == CertificatePart::Spiffe && !pattern.starts_with("spiffe://") {
            self.problems.error(&place.key(key), "a SPIFFE id begins with `spiffe://`");
        }
        if section.agent.is_none() && section.user.is_none() && !self.problems.below(&place.path) {
            self.problems.error(place, "needs an `agent` or a `user`");
        }
        for (key, name) in [("agent", &section.agent), ("user", &section.user)] {
            let Some(name) = name else { continue };
            self.caller_name(name, &place.key(key));
            if name.matches('*').count() > stars {
                self.problems.error(&place.key(key), "there is no `*` that it could stand for");
            }
        }
        let name = |text: &Option<String>| text.as_deref().map(Arc::from);
        Some(CertificateRule {
            part,
            pattern: Arc::from(pattern),
            tenant: self.known_tenant(section.tenant.as_deref(), tenants, &place.key("tenant")),
            agent: name(&section.agent),
            user: name(&section.user),
            groups: self.group_names(section.groups.as_ref(), &place.key("groups")),
            agent_groups: self.group_names(section.agent_groups.as_ref(), &place.key("agent_groups")),
            roles: self.group_names(section.roles.as_ref(), &place.key("roles")),
        })
    }

    /// The tenant of this name, which has to be configured.
    pub(super) fn known_tenant(
        &mut self,
        text: Option<&str>,
        tenants: &[TenantId],
        place: &Place<'_>,
    ) -> TenantId {
        let Some(text) = text else { return TenantId::default() };
        if let Some(tenant) = tenants.iter().find(|tenant| tenant.as_str() == text) {
            return tenant.clone();
        }
        let message = format!("there is no tenant {}", shown(place, text));
        match closest(text, tenants.iter().map(TenantId::as_str)) {
            Some(meant) => self.problems.error_with(place, message, format!("did you mean `{meant}`?")),
            None => self.problems.error_with(place, message, "name it under `tenants`"),
        }
        TenantId::default()
    }

    /// In order, each once.
    fn group_names(&mut self, list: Option<&Items<String>>, place: &Place<'_>) -> Vec<Arc<str>> {
        let mut groups = Vec::new();
        for (index, name) in Items::iter(list) {
            self.plain_name(name, &place.item(index));
            groups.push(Arc::from(name.as_str()));
        }
        if groups.len() > names::NAMES_MAX {
            self.problems.error(place, format!("more than {} names", names::NAMES_MAX));
        }
        groups.sort();
        groups.dedup();
        groups
    }

    fn plain_name(&mut self, name: &str, place: &Place<'_>) {
        if let Err(reason) = names::check(name) {
            self.problems.error(place, reason.to_string());
        }
    }

    fn caller_name(&mut self, name: &str, place: &Place<'_>) {
        if let Err(reason) = names::check_caller(name) {
            self.problems.error(place, reason.to_string());
        }
    }

    pub(super) fn required(&mut self, value: Option<&str>, key: &str, place: &Place<'_>) -> Option<Arc<str>> {
        if value.is_none() && !self.problems.below(&place.key(key).path) {
            self.problems.error(place, format!("`{key}` is missing"));
        }
        value.map(Arc::from)
    }

    /// A URL of an authorization server.
    pub(super) fn issuer_url(&mut self, text: &str, private: bool, place: &Place<'_>) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => url,
            _ => {
                let message = format!("{} is no https URL", shown(place, text));
                self.problems.error_with(place, message, "write it whole: `https://idp.example.com`");
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.problems.error(place, "a URL must not carry a user name or password");
            return None;
        }
        if url.scheme() == "http" && !(private && is_loopback(&url)) {
            let suggestion =
                "use https; http is only for a loopback address, with `allow_private_addresses: true`";
            self.problems.error_with(place, "whoever is on the way could forge tokens", suggestion);
            return None;
        }
        Some(url)
    }
}

/// Whether a user of one issuer could be taken for a user of the other.
fn may_be_confused(one: &IssuerSettings, other: &IssuerSettings) -> bool {
    let share_a_tenant = match (&one.tenant, &other.tenant) {
        (TenantSource::Fixed(one), TenantSource::Fixed(other)) => one == other,
        _ => true,
    };
    share_a_tenant && (one.prefix.starts_with(&*other.prefix) || other.prefix.starts_with(&*one.prefix))
}

/// `typ` as it is compared: without regard to case, and `application/` goes without saying (RFC 7515, section 4.1.9).
fn plain_type(text: &str) -> Arc<str> {
    let text = text.to_ascii_lowercase();
    Arc::from(text.strip_prefix("application/").unwrap_or(&text))
}

fn digest_of(hex: &str) -> Option<KeyHash> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (nth, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * nth..2 * nth + 2], 16).ok()?;
    }
    Some(KeyHash(hash))
}

const fn algorithm(section: AlgorithmSection) -> Algorithm {
    match section {
        AlgorithmSection::Rs256 => Algorithm::Rs256,
        AlgorithmSection::Rs384 => Algorithm::Rs384,
        AlgorithmSection::Rs512 => Algorithm::Rs512,
        AlgorithmSection::Ps256 => Algorithm::Ps256,
        AlgorithmSection::Ps384 => Algorithm::Ps384,
        AlgorithmSection::Ps512 => Algorithm::Ps512,
        AlgorithmSection::Es256 => Algorithm::Es256,
        AlgorithmSection::Es384 => Algorithm::Es384,
        AlgorithmSection::EdDsa => Algorithm::EdDsa,
    }
}
