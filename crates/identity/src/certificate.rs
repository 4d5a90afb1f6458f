//! Which client certificate stands for whom.
//!
//! The handshake has verified it: that its authority vouches for it, that its holder has its key, that it is valid now. Here
//! it is only read.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use tollgate_model::{KeyHash, Principal, Proof, TenantId, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry as oids;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::failure::{Failure, Why};
use crate::names::{self, principal_id, sorted};

/// A part of a certificate that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificatePart {
    /// The subject, as RFC 4514 writes it: `CN=support-bot,O=Example`.
    Subject,
    /// A DNS name.
    Dns,
    /// A URI.
    Uri,
    /// An e-mail address.
    Email,
    /// The SPIFFE id: the only URI of a certificate, `spiffe://…`.
    Spiffe,
}

/// What certificates of one kind stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// Where it looks.
    pub part: CertificatePart,
    /// What stands there; `*`, at most once, stands for any text that is not empty and has no separator.
    pub pattern: Arc<str>,
    /// Whose it is.
    pub tenant: TenantId,
    /// The agent; `*` stands for what the pattern's `*` stood for.
    pub agent: Option<Arc<str>>,
    /// The user, likewise.
    pub user: Option<Arc<str>>,
    /// The user's groups.
    pub groups: Vec<Arc<str>>,
    /// The agent's groups.
    pub agent_groups: Vec<Arc<str>>,
    /// Roles.
    pub roles: Vec<Arc<str>>,
}

/// Whom a certificate stands for: what the first rule says that fits it.
pub(crate) fn principal(rules: &[CertificateRule], der: &[u8]) -> Result<Principal, Failure> {
    let unreadable = || Failure::with(Why::UnknownCertificate, "it cannot be read");
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    let names = Names::of(&certificate).ok_or_else(unreadable)?;
    let found = rules.iter().find_map(|rule| {
        let mut texts = names.of_part(rule.part).iter();
        texts.find_map(|text| Some((rule, rule.captured(text)?)))
    });
    let Some((rule, captured)) = found else {
        return Err(Failure::with(Why::UnknownCertificate, format!("no rule is for {}", names.shown())));
    };
    let caller = |name: &Option<Arc<str>>| {
        let name = name.as_ref().map(|name| Arc::from(name.replace('*', captured)));
        match name.as_deref().map(names::check_caller) {
            Some(Err(bad)) => Err(Failure::with(Why::Claims, bad.to_string())),
            _ => Ok(name),
        }
    };
    let (agent, user) = (caller(&rule.agent)?, caller(&rule.user)?);
    let id = principal_id(agent.as_deref(), user.as_deref()).ok_or_else(unreadable)?;
    let mut hash = KeyHash([0; 32]);
    hash.0.copy_from_slice(digest(&SHA256, der).as_ref());
    let proof = Proof::Certificate { digest: Arc::from(hash.to_string()) };
    let mut principal = Principal::new(rule.tenant.clone(), id, proof);
    if user.is_some() {
        principal.groups = sorted(rule.groups.clone());
    }
    if agent.is_some() {
        principal.agent_groups = sorted(rule.agent_groups.clone());
    }
    principal.roles = sorted(rule.roles.clone());
    (principal.agent, principal.user) = (agent, user);
    let ends_s = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    principal.expires = Some(Timestamp::from_ms(ends_s.saturating_mul(1000)));
    Ok(principal)
}

impl CertificateRule {
    /// What the rule's `*` stands for in this text, if the rule fits it; nothing if it has none.
    fn captured<'t>(&self, text: &'t str) -> Option<&'t str> {
        let Some((before, after)) = self.pattern.split_once('*') else {
            return (*self.pattern == *text).then_some("");
        };
        let inner = text.strip_prefix(before)?.strip_suffix(after)?;
        let separators: &[char] = match self.part {
            // Also what joins and escapes: a value never reaches over into another.
            CertificatePart::Subject => &[',', '+', '\\', '='],
            CertificatePart::Dns => &['.', '*'],
            CertificatePart::Uri | CertificatePart::Spiffe => &['/', '?', '#'],
            CertificatePart::Email => &['@'],
        };
        (!inner.is_empty() && !inner.contains(separators)).then_some(inner)
    }
}

/// What a certificate is called.
#[derive(Debug, Default)]
struct Names {
    subject: Vec<String>,
    dns: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    spiffe: Vec<String>,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let mut names =
            Self { subject: subject(certificate.subject()).into_iter().collect(), ..Self::default() };
        let others = certificate.subject_alternative_name().ok()?;
        for name in others.iter().flat_map(|others| &others.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push(name.to_ascii_lowercase()),
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                _ => {}
            }
        }
        // A SPIFFE certificate has exactly one URI (X509-SVID, section 2).
        if let [only] = names.uris.as_slice()
            && only.starts_with("spiffe://")
        {
            names.spiffe.push(only.clone());
        }
        Some(names)
    }

    fn of_part(&self, part: CertificatePart) -> &[String] {
        match part {
            CertificatePart::Subject => &self.subject,
            CertificatePart::Dns => &self.dns,
            CertificatePart::Uri => &self.uris,
            CertificatePart::Email => &self.emails,
            CertificatePart::Spiffe => &self.spiffe,
        }
    }

    /// For the log.
    fn shown(&self) -> String {
        let all = [&self.subject, &self.dns, &self.uris, &self.emails];
        all.into_iter().flatten().take(4).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    }
}

/// A subject as RFC 4514 writes it. None if it is empty, or has a value that is no text.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let mut values = Vec::new();
        for attribute in part.iter() {
            let oid = attribute.attr_type();
            let short = SHORT.iter().find(|(known, _)| known == oid).map(|(_, short)| (*short).to_owned());
            let short = short.unwrap_or_else(|| oid.to_id_string());
            values.push(format!("{short}={}", escaped(attribute.as_str().ok()?)));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|subject| !subject.is_empty())
}

/// The short names of RFC 4514, section 3, and the one that is usual for e-mail addresses.
const SHORT: [(oids::Oid<'static>, &str); 8] = [
    (oids::OID_X509_COMMON_NAME, "CN"),
    (oids::OID_X509_LOCALITY_NAME, "L"),
    (oids::OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
    (oids::OID_X509_ORGANIZATION_NAME, "O"),
    (oids::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
    (oids::OID_X509_COUNTRY_NAME, "C"),
    (oids::OID_DOMAIN_COMPONENT, "DC"),
    (oids::OID_PKCS9_EMAIL_ADDRESS, "emailAddress"),
];

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (nth, c) in value.chars().enumerate() {
        let at_the_edge = (nth == 0 && matches!(c, ' ' | '#')) || (nth == last && c == ' ');
        if at_the_edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn rule(part: CertificatePart, pattern: &str, agent: &str) -> CertificateRule {
        CertificateRule {
            part,
            pattern: Arc::from(pattern),
            tenant: TenantId::default(),
            agent: Some(Arc::from(agent)),
            user: None,
            groups: vec![Arc::from("nobody's")],
            agent_groups: vec![Arc::from("mesh")],
            roles: Vec::new(),
        }
    }

    fn certificate(common: &str, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc");
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().expect("a URI"))
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().expect("a name"))
    }

    fn agent(rules: &[CertificateRule], der: &[u8]) -> Option<String> {
        principal(rules, der).ok().and_then(|who| who.agent.map(|agent| agent.to_string()))
    }

    #[test]
    fn the_first_rule_that_fits_says_who_it_is() {
        let rules = [
            rule(CertificatePart::Spiffe, "spiffe://example.org/agent/admin", "the admin"),
            rule(CertificatePart::Spiffe, "spiffe://example.org/agent/*", "mesh-*"),
            rule(CertificatePart::Dns, "*.agents.example.org", "*"),
            rule(CertificatePart::Email, "*@example.org", "mail-*"),
            rule(CertificatePart::Subject, "CN=*,O=Example\\, Inc,C=DE", "cn-*"),
        ];
        let found = |names: Vec<SanType>| agent(&rules, &certificate("x", names));
        assert_eq!(found(vec![uri("spiffe://example.org/agent/admin")]).as_deref(), Some("the admin"));
        assert_eq!(found(vec![uri("spiffe://example.org/agent/bot")]).as_deref(), Some("mesh-bot"));
        assert_eq!(found(vec![dns("BOT.agents.example.org")]).as_deref(), Some("bot"));
        let mail = SanType::Rfc822Name("ada@example.org".try_into().expect("an address"));
        assert_eq!(found(vec![mail]).as_deref(), Some("mail-ada"));
        assert_eq!(found(Vec::new()).as_deref(), Some("cn-x"));
        let who = principal(&rules, &certificate("bot", Vec::new())).expect("known");
        assert_eq!((who.id.as_str(), who.groups.len(), who.agent_groups.len()), ("agent:cn-bot", 0, 1));
        assert!(who.expires.is_some_and(|expires| expires > Timestamp::now()));
        assert!(matches!(&who.proof, Proof::Certificate { digest } if digest.len() == 64));
    }

    #[test]
    fn what_fits_no_rule_is_nobodys() {
        let spiffe = [rule(CertificatePart::Spiffe, "spiffe://example.org/agent/*", "*")];
        for names in [
            vec![uri("spiffe://example.org/agent/a/b")],
            vec![uri("spiffe://example.org/agent/")],
            vec![uri("spiffe://example.org.evil/agent/a")],
            vec![uri("https://example.org/agent/a")],
            vec![uri("spiffe://example.org/agent/a"), uri("spiffe://example.org/agent/b")],
            vec![uri("spiffe://example.org/agent/local")],
            Vec::new(),
        ] {
            assert_eq!(agent(&spiffe, &certificate("x", names.clone())), None, "{names:?}");
        }
        let subject = [rule(CertificatePart::Subject, "CN=*,O=Example\\, Inc,C=DE", "*")];
        for common in ["a,O=Example\\, Inc", "a+b", "a=b", "a\\"] {
            assert_eq!(agent(&subject, &certificate(common, Vec::new())), None, "{common}");
        }
        assert_eq!(agent(&spiffe, b"no certificate"), None);
    }
}
