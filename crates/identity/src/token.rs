//! From what a token claims to a principal, after it is known that its issuer said so.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use tollgate_model::{Actor, Principal, Proof, TenantId, Timestamp};

use crate::claims::{ClaimPath, ClaimSettings};
use crate::failure::{Failure, Why};
use crate::names::{self, NAMES_MAX, principal_id, sorted};
use crate::settings::{IssuerSettings, TenantSource};

/// The longest chain of delegation.
const ACT_MAX: usize = 8;

/// The claims of a token.
pub(crate) type Claims = Map<String, Value>;

type Name = Option<Arc<str>>;

/// What a token is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) issuer: &'a IssuerSettings,
    /// The endpoint that it was presented to.
    pub(crate) resource: &'a str,
    /// The tenants that there are.
    pub(crate) tenants: &'a [TenantId],
    /// The scopes that every token needs.
    pub(crate) scopes: &'a [Arc<str>],
    /// The client's certificate.
    pub(crate) certificate: Option<&'a [u8]>,
    pub(crate) now: Timestamp,
}

impl Judge<'_> {
    /// Whether a signed token is an access token at all.
    pub(crate) fn kind(&self, typ: &str, claims: &Claims) -> Result<(), Failure> {
        let wrong = |what: &str| Err(Failure::with(Why::Type, what));
        if !self.issuer.types.iter().any(|known| **known == *typ) {
            return wrong("the token's `typ` is not accepted");
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("token_use").is_some_and(|used| used != "access") {
            return wrong("its `token_use` is not `access`");
        }
        let kind = text("typ").unwrap_or_default();
        if ["ID", "Refresh", "Offline", "Logout"].iter().any(|word| word.eq_ignore_ascii_case(kind)) {
            return wrong("it says that it is no access token");
        }
        // What only ID tokens have (OpenID Connect Core, sections 2 and 3.3.2.11). Some servers put `nonce` into access
        // tokens, and then say what they are.
        let is_said = typ == "at+jwt" || kind.eq_ignore_ascii_case("bearer");
        if claims.contains_key("at_hash")
            || claims.contains_key("c_hash")
            || (claims.contains_key("nonce") && !is_said)
        {
            return wrong("it is an ID token");
        }
        Ok(())
    }

    /// Who the token's claims say is calling.
    pub(crate) fn principal(&self, claims: &Claims) -> Result<Principal, Failure> {
        let expires = self.time(claims)?;
        self.audience(claims)?;
        self.binding(claims)?;
        let (agent, user) = self.callers(claims)?;
        let tenant = self.tenant(claims)?;
        let id = principal_id(agent.as_deref(), user.as_deref())
            .ok_or_else(|| Failure::with(Why::Claims, "it names neither a user nor an agent"))?;
        let proof = Proof::Token { issuer: Arc::clone(&self.issuer.issuer), id: token_id(claims)? };
        let places = &self.issuer.claims;
        let prefix = &self.issuer.prefix;
        let mut principal = Principal::new(tenant, id, proof);
        refuse_left_out(claims, &places.groups)?;
        if user.is_some() {
            principal.groups = named(claims, &places.groups, prefix, "groups", false)?;
        }
        if agent.is_some() {
            principal.agent_groups = named(claims, &places.agent_groups, prefix, "agent groups", false)?;
        }
        principal.roles = named(claims, &places.roles, prefix, "roles", false)?;
        let scopes = named(claims, &places.scopes, "", "scopes", true)?;
        if let Some(missing) = self.scopes.iter().find(|scope| !scopes.contains(scope)) {
            return Err(Failure::with(Why::Scope, format!("`{missing}` is missing")));
        }
        principal.scopes = Some(scopes);
        principal.act = actors(claims, &self.issuer.issuer)?;
        (principal.agent, principal.user) = (agent, user);
        principal.expires = Some(expires);
        Ok(principal)
    }

    /// When it ends, if it is valid now.
    pub(crate) fn time(&self, claims: &Claims) -> Result<Timestamp, Failure> {
        let skew = self.issuer.clock_skew;
        let at = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64().filter(|seconds| (0.0..1e11).contains(seconds)) {
                Some(seconds) => Ok(Some(Timestamp::default().after(Duration::from_secs_f64(seconds)))),
                None => Err(Failure::with(Why::Claims, format!("`{name}` is no time"))),
            },
        };
        let ends = at("exp")?.ok_or_else(|| Failure::with(Why::Claims, "`exp` is missing"))?.after(skew);
        if ends <= self.now {
            return Err(Failure::new(Why::Expired));
        }
        for name in ["nbf", "iat"] {
            if at(name)?.is_some_and(|begins| begins > self.now.after(skew)) {
                return Err(Failure::with(Why::NotYet, format!("`{name}` is in the future")));
            }
        }
        Ok(ends)
    }

    fn audience(&self, claims: &Claims) -> Result<(), Failure> {
        let is_meant =
            |text: &str| text == self.resource || self.issuer.audiences.iter().any(|known| **known == *text);
        let fits = match claims.get("aud") {
            Some(Value::String(one)) => is_meant(one),
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(is_meant),
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(Failure::with(Why::Audience, format!("it is not meant for {}", self.resource)))
        }
    }

    /// Whether a token that is bound to something was shown with it. Only certificates can be shown (RFC 8705, section 3);
    /// a token bound to a key (RFC 9449) proves nothing by itself.
    fn binding(&self, claims: &Claims) -> Result<(), Failure> {
        let Some(bound) = claims.get("cnf") else { return Ok(()) };
        let thumbprint =
            bound.as_object().filter(|bound| bound.len() == 1).and_then(|bound| bound.get("x5t#S256"));
        let shown = self.certificate.map(|der| URL_SAFE_NO_PAD.encode(digest(&SHA256, der)));
        match (thumbprint.and_then(Value::as_str), shown) {
            (Some(wanted), Some(shown)) if wanted == shown => Ok(()),
            _ => Err(Failure::with(Why::Binding, "it is bound to what was not shown")),
        }
    }

    /// The agent and the user. A client that got the token for itself has no user.
    fn callers(&self, claims: &Claims) -> Result<(Name, Name), Failure> {
        let places = &self.issuer.claims;
        let agent = first(claims, &places.agent).map(|(_, value)| one_text(value, "agent")).transpose()?;
        let user = first(claims, &places.user);
        if user.is_some_and(|(place, _)| place.is("email"))
            && claims.get("email_verified") != Some(&Value::Bool(true))
        {
            return Err(Failure::with(
                Why::Claims,
                "the user is named by an e-mail address that is not verified",
            ));
        }
        let user = user.map(|(_, value)| one_text(value, "user")).transpose()?;
        let user = if is_the_clients_own(claims, places, agent, user)? { None } else { user };
        Ok((
            agent.map(|agent| self.caller(agent)).transpose()?,
            user.map(|user| self.caller(user)).transpose()?,
        ))
    }

    fn caller(&self, name: &str) -> Result<Arc<str>, Failure> {
        let name = prefixed(&self.issuer.prefix, name);
        names::check_caller(&name).map_err(|bad| Failure::with(Why::Claims, bad.to_string()))?;
        Ok(name)
    }

    fn tenant(&self, claims: &Claims) -> Result<TenantId, Failure> {
        match &self.issuer.tenant {
            TenantSource::Fixed(tenant) => Ok(tenant.clone()),
            TenantSource::Claim(place) => {
                let named = place.find(claims).and_then(Value::as_str);
                let known = self.tenants.iter().find(|tenant| Some(tenant.as_str()) == named);
                known
                    .cloned()
                    .ok_or_else(|| Failure::with(Why::Tenant, "it names no tenant that is configured"))
            }
        }
    }
}

/// Whether a client got the token for itself. Only what the server decides says so: `sub` is the client, as most servers
/// write it or as `CLIENT@clients`; a claim for just that; or nobody else is named. A mapped name may be one that a person
/// has chosen. A token that looks like it, but names somebody or has a user's groups, is refused: without them a rule that
/// forbids would not be seen.
fn is_the_clients_own(
    claims: &Claims,
    places: &ClaimSettings,
    agent: Option<&str>,
    user: Option<&str>,
) -> Result<bool, Failure> {
    let wrong = |what: &str| Err(Failure::with(Why::Claims, what));
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let subject = claims.get("sub").map(|subject| one_text(subject, "`sub`")).transpose()?;
    let is_client = |name: &str| {
        let mut clients = [agent, text("client_id"), text("azp")].into_iter().flatten();
        clients.any(|client| name == client || name.strip_suffix("@clients") == Some(client))
    };
    let is_app = text("idtyp") == Some("app");
    let is_said = is_app || text("gty") == Some("client-credentials");
    if !is_said && !subject.is_some_and(is_client) && user.is_some() {
        return Ok(false);
    }
    // Entra names an app by an identifier of its own.
    let is_itself = |name: &str| is_client(name) || (is_app && text("oid") == Some(name));
    if !subject.is_none_or(is_itself) {
        return wrong("`sub` is not the client, and there is no user besides");
    }
    if !user.is_none_or(is_itself) {
        return wrong("the client got it for itself, and it names a user");
    }
    let groups = first(claims, &places.groups).filter(|(_, groups)| !is_nothing(groups));
    let agents = first(claims, &places.agent_groups);
    if groups.is_some_and(|(place, _)| agents.is_none_or(|(other, _)| place != other)) {
        return wrong("the client got it for itself, and it names groups of a user");
    }
    Ok(true)
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// Some servers leave groups out when there are many, and say where to ask for them. Without them a rule that forbids would
/// not be seen.
pub(crate) fn refuse_left_out(claims: &Claims, places: &[ClaimPath]) -> Result<(), Failure> {
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
    let is_left_out =
        |place: &ClaimPath| elsewhere.is_some_and(|names| names.keys().any(|name| place.is(name)));
    if places.iter().any(is_left_out) {
        return Err(Failure::with(
            Why::Claims,
            "its groups were too many to be in it; make the server name fewer",
        ));
    }
    Ok(())
}

fn token_id(claims: &Claims) -> Result<Option<Arc<str>>, Failure> {
    match claims.get("jti") {
        None => Ok(None),
        Some(id) => {
            let id = one_text(id, "jti")?;
            names::check(id).map_err(|bad| Failure::with(Why::Claims, format!("`jti`: {bad}")))?;
            Ok(Some(Arc::from(id)))
        }
    }
}

/// Who acted for whom, the latest first (RFC 8693, section 4.1).
fn actors(claims: &Claims, issuer: &Arc<str>) -> Result<Vec<Actor>, Failure> {
    let wrong = |what: &str| Failure::with(Why::Claims, format!("`act`: {what}"));
    let mut actors = Vec::new();
    let mut next = claims.get("act");
    while let Some(act) = next {
        let act = act.as_object().ok_or_else(|| wrong("no object"))?;
        let subject = act.get("sub").and_then(Value::as_str).ok_or_else(|| wrong("no `sub`"))?;
        let issuer = match act.get("iss") {
            None => Arc::clone(issuer),
            Some(other) => Arc::from(other.as_str().ok_or_else(|| wrong("`iss` is no text"))?),
        };
        for name in [subject, &*issuer] {
            names::check(name).map_err(|bad| wrong(&bad.to_string()))?;
        }
        if actors.len() == ACT_MAX {
            return Err(wrong("the chain is too long"));
        }
        actors.push(Actor { issuer, subject: Arc::from(subject) });
        next = act.get("act");
    }
    Ok(actors)
}

/// The first of the places at which something is.
pub(crate) fn first<'c>(claims: &'c Claims, places: &'c [ClaimPath]) -> Option<(&'c ClaimPath, &'c Value)> {
    places.iter().find_map(|place| Some((place, place.find(claims)?)))
}

fn one_text<'v>(value: &'v Value, what: &str) -> Result<&'v str, Failure> {
    value.as_str().ok_or_else(|| Failure::with(Why::Claims, format!("the {what} is no text")))
}

/// Names in a list, or in one text, which may be several with spaces between them.
pub(crate) fn named(
    claims: &Claims,
    places: &[ClaimPath],
    prefix: &str,
    what: &str,
    with_spaces: bool,
) -> Result<Vec<Arc<str>>, Failure> {
    let wrong = |why: &str| Failure::with(Why::Claims, format!("{what}: {why}"));
    let texts: Vec<&str> = match first(claims, places) {
        None | Some((_, Value::Null)) => return Ok(Vec::new()),
        Some((_, Value::String(text))) if with_spaces => {
            text.split(' ').filter(|text| !text.is_empty()).collect()
        }
        Some((_, Value::String(text))) => vec![text],
        Some((_, Value::Array(items))) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| wrong("not all are texts"))?
        }
        Some(_) => return Err(wrong("neither a text nor a list")),
    };
    if texts.len() > NAMES_MAX {
        return Err(wrong("more than are allowed"));
    }
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        let name = prefixed(prefix, text);
        names::check(text).and_then(|()| names::check(&name)).map_err(|bad| wrong(&bad.to_string()))?;
        found.push(name);
    }
    Ok(sorted(found))
}

fn prefixed(prefix: &str, name: &str) -> Arc<str> {
    if prefix.is_empty() || name.is_empty() { Arc::from(name) } else { Arc::from(format!("{prefix}{name}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RESOURCE: &str = "https://gate.example/mcp";
    const NOW: u64 = 1_800_000_000;

    fn issuer() -> IssuerSettings {
        IssuerSettings { prefix: Arc::from("idp:"), ..IssuerSettings::new("https://idp.example") }
    }

    fn judged(settings: &IssuerSettings, more: &Value) -> Result<Principal, Failure> {
        let mut claims =
            json!({ "aud": RESOURCE, "exp": NOW + 60, "sub": "ada", "client_id": "desk", "scope": "mcp x" });
        for (name, value) in more.as_object().expect("claims") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        let (tenants, scopes) = ([TenantId::default(), TenantId::new("acme")], [Arc::from("mcp")]);
        let judge = Judge {
            issuer: settings,
            resource: RESOURCE,
            tenants: &tenants,
            scopes: &scopes,
            certificate: Some(b"certificate"),
            now: Timestamp::from_ms(NOW * 1000),
        };
        judge.principal(claims.as_object().expect("claims"))
    }

    fn why(more: &Value) -> &'static str {
        match judged(&issuer(), more) {
            Ok(principal) => panic!("let in: {principal:?}"),
            Err(failure) => failure.why.word(),
        }
    }

    fn names(list: &[Arc<str>]) -> Vec<&str> {
        list.iter().map(|name| &**name).collect()
    }

    #[test]
    fn an_agent_acts_for_a_user() {
        let more = json!({
            "jti": "t1", "groups": ["b", "a", "b"], "roles": "admin", "iat": NOW, "nbf": NOW + 20,
            "act": { "sub": "desk", "act": { "sub": "relay", "iss": "https://other.example" } },
        });
        let who = judged(&issuer(), &more).expect("let in");
        assert_eq!(who.id.as_str(), "agent:idp:desk user:idp:ada");
        assert_eq!((who.agent.as_deref(), who.user.as_deref()), (Some("idp:desk"), Some("idp:ada")));
        assert_eq!(names(&who.groups), ["idp:a", "idp:b"]);
        assert_eq!(names(&who.roles), ["idp:admin"]);
        assert_eq!(names(who.scopes.as_deref().expect("scopes")), ["mcp", "x"]);
        let acts: Vec<_> = who.act.iter().map(|act| (&*act.issuer, &*act.subject)).collect();
        assert_eq!(acts, [("https://idp.example", "desk"), ("https://other.example", "relay")]);
        assert_eq!(who.expires, Some(Timestamp::from_ms((NOW + 90) * 1000)), "with the skew that is allowed");
    }

    #[test]
    fn a_client_by_itself_has_no_user() {
        for more in [
            json!({ "sub": "desk" }),
            json!({ "sub": "desk", "groups": [] }),
            json!({ "sub": null }),
            json!({ "sub": "desk@clients" }),
            json!({ "sub": "desk", "client_id": null, "azp": "desk" }),
            json!({ "sub": "desk@clients", "gty": "client-credentials" }),
            json!({ "sub": null, "gty": "client-credentials" }),
            json!({ "sub": "7d0c", "oid": "7d0c", "idtyp": "app" }),
        ] {
            let who = judged(&issuer(), &more).expect("let in");
            assert_eq!((who.id.as_str(), who.user.as_deref()), ("agent:idp:desk", None), "{more}");
        }
    }

    #[test]
    fn a_clients_own_token_that_names_somebody_is_refused() {
        for more in [
            json!({ "sub": "desk", "groups": ["a"] }),
            json!({ "sub": "desk", "groups": "a" }),
            json!({ "sub": "desk@clients", "groups": ["a"] }),
            json!({ "sub": null, "groups": ["a"] }),
            json!({ "sub": "desk", "_claim_names": { "groups": "src1" } }),
            json!({ "gty": "client-credentials" }),
            json!({ "idtyp": "app" }),
            json!({ "idtyp": "app", "oid": "7d0c" }),
            json!({ "gty": "client-credentials", "sub": "7d0c", "oid": "7d0c" }),
        ] {
            assert_eq!(why(&more), "claims", "{more}");
        }
        let mut both = issuer();
        both.claims.agent_groups = both.claims.groups.clone();
        let who = judged(&both, &json!({ "sub": "desk", "groups": ["a"] })).expect("let in");
        assert_eq!((names(&who.agent_groups), who.groups.len()), (vec!["idp:a"], 0), "they are the agent's");
    }

    #[test]
    fn no_name_that_a_person_chose_makes_a_client_of_them() {
        let mut chosen = issuer();
        chosen.claims.user = vec![ClaimPath::top("preferred_username")];
        for name in ["desk", "desk@clients"] {
            let more = json!({ "preferred_username": name, "groups": ["contractors"] });
            let who = judged(&chosen, &more).expect("let in");
            assert_eq!(who.user.as_deref(), Some(&*format!("idp:{name}")));
            assert_eq!(
                (who.agent.as_deref(), names(&who.groups)),
                (Some("idp:desk"), vec!["idp:contractors"])
            );
        }
        for more in [
            json!({}),
            json!({ "groups": ["contractors"] }),
            json!({ "sub": 7, "preferred_username": "desk" }),
            json!({ "sub": "desk", "preferred_username": "ada" }),
            json!({ "sub": null, "gty": "client-credentials", "preferred_username": "ada" }),
            json!({ "idtyp": "app", "oid": "ada", "preferred_username": "bob" }),
        ] {
            let failure = judged(&chosen, &more).expect_err("refused");
            assert_eq!(failure.why, Why::Claims, "{more}");
        }
        let who = judged(&chosen, &json!({ "sub": "desk", "preferred_username": "desk" })).expect("let in");
        assert_eq!(who.id.as_str(), "agent:idp:desk");
        let who = judged(&chosen, &json!({ "sub": null, "preferred_username": "desk" })).expect("let in");
        assert_eq!(who.id.as_str(), "agent:idp:desk user:idp:desk");
    }

    #[test]
    fn what_does_not_hold_is_refused() {
        for (more, word) in [
            (json!({ "exp": null }), "claims"),
            (json!({ "exp": NOW - 30 }), "expired"),
            (json!({ "exp": "tomorrow" }), "claims"),
            (json!({ "exp": -1 }), "claims"),
            (json!({ "nbf": NOW + 31 }), "not_yet_valid"),
            (json!({ "iat": NOW + 31 }), "not_yet_valid"),
            (json!({ "aud": null }), "audience"),
            (json!({ "aud": "https://gate.example/mcp/" }), "audience"),
            (json!({ "aud": ["https://gate.example", 7] }), "audience"),
            (json!({ "cnf": { "jkt": "x" } }), "binding"),
            (json!({ "cnf": { "x5t#S256": "x" } }), "binding"),
            (json!({ "sub": null, "client_id": null }), "claims"),
            (json!({ "sub": 7 }), "claims"),
            (json!({ "sub": "a\u{7}" }), "claims"),
            (json!({ "sub": "x".repeat(300) }), "claims"),
            (json!({ "groups": ["a", 1] }), "claims"),
            (json!({ "groups": vec!["a"; 300] }), "claims"),
            (json!({ "groups": [""] }), "claims"),
            (json!({ "_claim_names": { "groups": "src1" } }), "claims"),
            (json!({ "scope": "x" }), "scope"),
            (json!({ "scope": null }), "scope"),
            (json!({ "act": "desk" }), "claims"),
            (json!({ "jti": 7 }), "claims"),
        ] {
            assert_eq!(why(&more), word, "{more}");
        }
        let deep = (0..9).fold(json!({ "sub": "a" }), |inner, _| json!({ "sub": "a", "act": inner }));
        assert_eq!(why(&json!({ "act": deep })), "claims");
    }

    #[test]
    fn a_bound_token_is_shown_with_its_certificate() {
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, b"certificate"));
        assert!(judged(&issuer(), &json!({ "cnf": { "x5t#S256": thumbprint } })).is_ok());
        assert_eq!(why(&json!({ "cnf": { "x5t#S256": thumbprint, "jkt": "x" } })), "binding");
    }

    #[test]
    fn claims_are_where_the_configuration_says() {
        let path = |text: &str| vec![ClaimPath::read(text).expect("a path")];
        let mut settings = issuer();
        settings.claims.user = path("email");
        settings.claims.agent = path("act.sub");
        settings.claims.groups = path("realm_access.groups");
        settings.claims.agent_groups = path("https://example.com/kinds");
        settings.tenant = TenantSource::Claim(ClaimPath::read("org").expect("a path"));
        settings.audiences = vec![Arc::from("api://tools")];
        let more = json!({
            "email": "ada@example.com", "email_verified": true, "act": { "sub": "bot" }, "aud": ["x", "api://tools"],
            "realm_access": { "groups": ["g"] }, "https://example.com/kinds": ["k"], "org": "acme",
        });
        let who = judged(&settings, &more).expect("let in");
        assert_eq!(
            (who.agent.as_deref(), who.user.as_deref()),
            (Some("idp:bot"), Some("idp:ada@example.com"))
        );
        assert_eq!((names(&who.groups), names(&who.agent_groups)), (vec!["idp:g"], vec!["idp:k"]));
        assert_eq!(who.tenant.as_str(), "acme");
        for (name, value) in [("email_verified", json!(false)), ("org", json!("nowhere")), ("org", json!(7))]
        {
            let mut more = more.clone();
            more[name] = value;
            assert!(judged(&settings, &more).is_err(), "{name}");
        }
    }

    #[test]
    fn only_access_tokens_are_taken() {
        let settings = issuer();
        let judge = Judge {
            issuer: &settings,
            resource: RESOURCE,
            tenants: &[],
            scopes: &[],
            certificate: None,
            now: Timestamp::default(),
        };
        let kind = |typ: &str, claims: Value| judge.kind(typ, claims.as_object().expect("claims")).is_ok();
        assert!(kind("at+jwt", json!({ "nonce": "x" })));
        assert!(kind("jwt", json!({ "typ": "Bearer", "nonce": "x" })));
        assert!(kind("", json!({ "token_use": "access" })));
        for (typ, claims) in [
            ("id+jwt", json!({})),
            ("jwt", json!({ "nonce": "x" })),
            ("at+jwt", json!({ "at_hash": "x" })),
            ("jwt", json!({ "token_use": "id" })),
            ("jwt", json!({ "typ": "ID" })),
            ("jwt", json!({ "typ": "Refresh" })),
        ] {
            assert!(!kind(typ, claims.clone()), "{typ} {claims}");
        }
    }
}
