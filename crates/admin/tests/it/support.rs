//! A gateway that is made up, and those who administer it.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::Semaphore;
use tollgate_admin::{
    Admin, AdminSettings, Body, Configured, FoundServer, Grant, ImportSource, Judged, KeyCard, LimitCard,
    LimitsLine, Parts, PolicyRemark, PolicyText, Reached, ReadServer, Registry, Review, ReviewedItem,
    ReviewedList, ReviewedTool, Role, RuleCandidate, RuleCard, ServerCard, ServerLine, ServerReach, Shift,
    ShiftExample, Simulated, Snapshot, Standing, Tested, TestedCase, ToolCallers, ToolFinding, World,
};
use tollgate_identity::key;
use tollgate_ledger::Ledger;
use tollgate_model::{Holder, PrincipalId, Secret, ServerId, ServerName, TenantId, Timestamp};
use tollgate_store::{
    About, AdminKey, Admins, Approval, ApprovalId, ApprovalOf, Approvals, Asked, AskingRoom, AuditBatch,
    AuditIndex, AuditRow, Blockable, Blocking, Blocks, Definitions, DefinitionsOf, Digest, Doing, FindingRow,
    Followed, Follower, Keys, LastKnown, List, Memory, Needed, Pausable, Pauses, Pausing, PinKind, Pins,
    Place, Registration, RegistrationId, Registrations, Revocable, Revocation, Revocations, RuleDoing,
    RuleSet, RuleSetId, RuleSets, Sighting, Sightings, Standing as StandingOf, Store,
};

/// What a page must never hold as it is.
pub(crate) const XSS: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'";
/// A name that only those may see who may see the tenant `acme`.
pub(crate) const MARK: &str = "acmes-own";

pub(crate) const BASE: &str = "http://127.0.0.1:8081";
pub(crate) const HOST_NAME: &str = "127.0.0.1:8081";

pub(crate) struct Fake {
    pub(crate) store: Arc<Memory>,
    pub(crate) ledger: Ledger,
    pub(crate) follower: Follower,
    pub(crate) self_approval: Option<bool>,
    /// Whether a lock file says which definitions are approved.
    pub(crate) pins_locked: bool,
    /// Whether stored policies count, and whether nobody may put in force what they wrote.
    pub(crate) policies: (bool, bool),
    /// What holds up simulations and reviews.
    pub(crate) held_up: Option<Arc<HeldUp>>,
}

/// Work that takes as long as a test wants.
#[derive(Debug)]
pub(crate) struct HeldUp {
    /// One for each that has begun.
    pub(crate) begun: Semaphore,
    /// One for each that may end.
    pub(crate) may_end: Semaphore,
}

impl HeldUp {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { begun: Semaphore::new(0), may_end: Semaphore::new(0) })
    }

    async fn pass(this: Option<&Arc<Self>>) {
        let Some(this) = this else { return };
        this.begun.add_permits(1);
        this.may_end.acquire().await.expect("open").forget();
    }
}

/// A text that is refused as policies, in the eyes of the gateway that is made up.
pub(crate) const BAD: &str = "bad policies";
/// A set of the tenant `acme`.
pub(crate) const SET: &str = "pay";

pub(crate) fn acme() -> TenantId {
    TenantId::new("acme")
}

pub(crate) fn server(holder: Holder) -> ServerId {
    ServerId::new(holder, ServerName::new("crm").expect("a name"))
}

fn line(server: ServerId) -> ServerLine {
    ServerLine {
        server,
        transport: "http",
        reach: ServerReach::Down {
            code: "upstream_unavailable",
            reason: XSS.into(),
            since: Timestamp::from_ms(951_782_400_000),
        },
        instances: 1,
        leased: 0,
        starts: 1,
        restarts: 0,
        start_failures: 0,
        replicas: Vec::new(),
    }
}

/// A server as the fake gateway understands whatever is said of one.
fn tool_callers() -> ToolCallers {
    let rule = RuleCard {
        id: XSS.to_owned(),
        is_permit: true,
        is_operator: false,
        path: format!("{MARK}{XSS}"),
        line: 3,
        description: Some(XSS.to_owned()),
        principal: Some(format!("Group::{XSS}")),
        conditions: vec![XSS.to_owned()],
    };
    let key = KeyCard { id: "k1".to_owned(), agent: format!("{MARK}{XSS}"), groups: vec![XSS.to_owned()] };
    ToolCallers { rules: vec![rule], keys: vec![key], has_more_keys: true }
}

#[async_trait]
impl Registry for Fake {
    fn read_server(&self, _: &RegistrationId, reach: &str, about: About) -> Result<ReadServer, Vec<String>> {
        if reach.contains("s3cret") {
            return Err(vec![format!("looks like a secret {XSS}")]);
        }
        Ok(ReadServer { reach: reach.into(), about })
    }

    async fn find_servers(&self, source: ImportSource) -> Result<Vec<FoundServer>, String> {
        if let ImportSource::Url(url, _) = source {
            return Err(format!("{url} is at no public address"));
        }
        let found = |name: &str| FoundServer {
            full: format!("com.example/{name}"),
            label: name.to_owned(),
            version: "1.2".to_owned(),
            reach: Ok("{\"url\":\"https://imported.example\"}".into()),
            about: About { description: Some(XSS.into()), ..About::default() },
        };
        Ok(vec![found("notes"), found("tasks")])
    }

    async fn review(&self, registration: &Registration) -> Result<Review, String> {
        HeldUp::pass(self.held_up.as_ref()).await;
        if registration.reach.contains("nobody") {
            return Err(format!("nobody answers {XSS}"));
        }
        let definition = serde_json::json!({ "name": XSS, "description": XSS }).to_string();
        let tool = ReviewedTool {
            name: format!("{MARK}{XSS}"),
            definition: serde_json::value::RawValue::from_string(definition).expect("JSON"),
            digest: "d1".to_owned(),
            findings: vec![ToolFinding {
                rule: "injection".to_owned(),
                confidence: 90,
                path: XSS.to_owned(),
            }],
            pin: "other",
            callers: Some(tool_callers()),
        };
        let item = ReviewedItem {
            name: format!("{MARK}{XSS}"),
            definition: tool.definition.clone(),
            digest: "d2".to_owned(),
            findings: tool.findings.clone(),
            pin: "waiting",
        };
        let list = |list, unread| ReviewedList { list, unread, items: vec![item.clone()] };
        let lists = vec![
            list("prompts", None),
            list("resources", Some(XSS.to_owned())),
            list("resource_templates", None),
        ];
        let (revision, not_served) = ("2026-07-28".to_owned(), Some(XSS.to_owned()));
        Ok(Review { revision, not_served, tools: vec![tool], lists })
    }

    fn judge(&self, _: &ServerId, _: List, items: &[bytes::Bytes]) -> Vec<Judged> {
        let finding = ToolFinding { rule: XSS.to_owned(), confidence: 90, path: format!("{MARK}{XSS}") };
        items.iter().map(|_| Judged { findings: vec![finding.clone()], pin: Some("waiting") }).collect()
    }

    async fn callers(&self, _: &TenantId, _: &ServerName, tools: &[Arc<str>]) -> Option<Vec<ToolCallers>> {
        Some(tools.iter().map(|_| tool_callers()).collect())
    }
}

/// What somebody else registered.
pub(crate) fn doing(at: u64) -> Doing {
    Doing { by: format!("{MARK}{XSS}").into(), reason: XSS.into(), at: Timestamp::from_ms(at) }
}

fn draft(version: &str) -> Registration {
    let text = || Some(Arc::<str>::from(XSS));
    let about = About {
        description: text(),
        owner: Some(format!("{MARK}{XSS}").into()),
        environment: text(),
        risk: text(),
        tags: vec![XSS.into()],
        documentation: Some("javascript:alert(1)".into()),
    };
    let name = ServerName::new(MARK).expect("a name");
    let id = RegistrationId { tenant: acme(), name, version: version.into() };
    let reach = format!("{{\"url\":\"https://{MARK}.example/{}\"}}", XSS.replace('"', "\\\""));
    Registration::draft(id, reach.into(), about, "cli", &doing(1))
}

/// Version 1 is a draft, 2 is in review, 3 stands by, and 4 gets all requests.
async fn registered(store: &Memory) {
    let put = async |next: Registration| {
        store.put_registrations(vec![next.clone()]).await.expect("put");
        next
    };
    put(draft("1")).await;
    for (version, at) in [("2", 0), ("3", 5), ("4", 6)] {
        let submitted = put(draft(version)).await.submitted(&doing(2)).expect("a draft");
        put(submitted).await;
        if at == 0 {
            continue;
        }
        let which = tollgate_store::WhichRegistrations { most: 9, ..Default::default() };
        let versions = store.registrations(&which).await.expect("read");
        let approved = tollgate_store::approve(&versions, version, None, true, &doing(at)).expect("approved");
        store.put_registrations(approved).await.expect("put");
    }
}

#[async_trait]
impl World for Fake {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            standing: Standing::Serving,
            servers: vec![line(server(Holder::Tenant(acme()))), line(server(Holder::Shared))],
            store: None,
            exports: Vec::new(),
            ledger: None,
            index: None,
            blocks: Vec::new(),
            limits: LimitsLine::default(),
            left_out: Vec::new(),
            not_taken: Some(format!("store:pay@7:1:1: {MARK}{XSS}")),
        }
    }

    fn parts(&self) -> Option<Parts> {
        let card = |server| ServerCard {
            server,
            owner: Some(format!("{MARK} {XSS}").into()),
            environment: Some(XSS.into()),
            risk: None,
            scopes: Vec::new(),
        };
        let policy = PolicyText {
            tenant: Some(acme()),
            path: format!("{MARK}.cedar").into(),
            text: XSS.into(),
            is_shadow: false,
        };
        let limit = LimitCard { plan: None, name: XSS.into(), says: XSS.to_owned() };
        Some(Parts {
            store: Some(self.store.clone()),
            follower: self.follower.clone(),
            ledger: self.ledger.clone(),
            configured: Arc::new(Configured {
                tenants: vec![acme(), TenantId::new("globex")],
                plans: vec![(acme(), format!("{MARK} {XSS}").into())],
                stored_policies: self.policies.0,
                four_eyes: self.policies.1,
                servers: vec![card(server(Holder::Tenant(acme())))],
                policies: vec![policy],
                limits: vec![limit],
                pins_locked: self.pins_locked,
                approvals: Arc::default(),
                self_approval: self.self_approval,
                currency: "EUR".into(),
                settings: vec![("version", XSS.to_owned())],
            }),
        })
    }

    fn make_store(&self) -> Result<Arc<dyn Store>, String> {
        Ok(self.store.clone())
    }

    async fn try_policies(&self, _: &TenantId, _: Vec<PolicyText>) -> Result<Vec<PolicyRemark>, String> {
        Ok(vec![PolicyRemark {
            is_error: true,
            path: "a.cedar".into(),
            line: 1,
            column: 2,
            message: XSS.to_owned(),
            suggestion: None,
        }])
    }

    async fn try_rules(&self, candidate: &RuleCandidate) -> Result<Vec<PolicyRemark>, String> {
        let remark = |is_error| PolicyRemark {
            is_error,
            path: format!("store:{}@{}", candidate.id.name, candidate.version).into(),
            line: 3,
            column: 4,
            message: XSS.to_owned(),
            suggestion: Some("did you mean it?".to_owned()),
        };
        Ok(vec![remark(candidate.text.contains(BAD))])
    }

    async fn test_rules(&self, _: &RuleCandidate, cases: &str) -> Result<Tested, String> {
        let differences = vec![("decision", "allow".to_owned(), XSS.to_owned())];
        let case = |name: &str, differences| TestedCase {
            name: name.to_owned(),
            line: 2,
            differences,
            policies: vec![XSS.to_owned()],
        };
        Ok(Tested { problems: Vec::new(), cases: vec![case(cases, differences), case(XSS, Vec::new())] })
    }

    async fn simulate_rules(&self, _: &RuleCandidate, days: u32) -> Result<Simulated, String> {
        HeldUp::pass(self.held_up.as_ref()).await;
        let example = ShiftExample {
            time: Timestamp::from_ms(951_782_400_000),
            call: "c".to_owned(),
            agent: format!("{MARK}{XSS}"),
            user: XSS.to_owned(),
            what: XSS.to_owned(),
            before: vec![XSS.to_owned()],
            after: vec![XSS.to_owned()],
        };
        let newly_allowed = Shift {
            count: 1,
            by_tool: vec![(XSS.to_owned(), 1)],
            by_agent: vec![(XSS.to_owned(), 1)],
            by_policy: vec![(XSS.to_owned(), 1)],
            examples: vec![example],
        };
        let (found, span) = (u64::from(days), Some((Timestamp::from_ms(1), Timestamp::from_ms(2))));
        let undecidable = vec![("arguments were not kept", 2)];
        Ok(Simulated {
            found,
            decided: 2,
            same: 1,
            undecidable,
            newly_allowed,
            span,
            is_cut: true,
            ..Simulated::default()
        })
    }
}

/// A gateway with something of everything, all of the tenant `acme` and named in a way that would do harm.
pub(crate) async fn fake() -> Fake {
    let store = Arc::new(Memory::default());
    let name: Arc<str> = format!("{MARK}{XSS}").into();
    let now = Timestamp::now();
    let record = tollgate_model::KeyRecord {
        id: tollgate_model::KeyId::new("k1"),
        tenant: acme(),
        agent: name.clone(),
        groups: vec![XSS.into()],
        hash: tollgate_model::KeyHash([1; 32]),
        created: now,
        expires: None,
        revoked: None,
        replaced_by: None,
    };
    store.add_key(record).await.expect("added");
    for what in [
        Blockable::Agent { tenant: acme(), agent: name.clone() },
        Blockable::Tool {
            tenant: Some(acme()),
            server: ServerName::new("crm").expect("a name"),
            native: name.clone(),
        },
    ] {
        let blocking = Blocking { what, reason: XSS.into(), is_public: true, by: XSS.into(), since: now };
        store.block(blocking).await.expect("blocked");
    }
    let who = Pausable { tenant: acme(), agent: name.clone() };
    let until = now.after(std::time::Duration::from_hours(1));
    store.pause(Pausing { who, why: XSS.into(), since: now, until }).await.expect("paused");
    let what = Revocable::User { tenant: acme(), user: name.clone() };
    store.revoke(Revocation { what, since: now, until: None }).await.expect("revoked");
    let of = DefinitionsOf {
        tenant: Some(acme()),
        server: ServerName::new("crm").expect("a name"),
        list: List::Tools,
    };
    let named = format!("{MARK}{XSS}");
    for (list, item) in [
        (List::Tools, serde_json::json!({ "name": named, "description": XSS, "inputSchema": {} })),
        (List::Prompts, serde_json::json!({ "name": named, "title": XSS, "description": XSS })),
        (List::Resources, serde_json::json!({ "uri": named, "name": XSS, "description": XSS })),
        (List::ResourceTemplates, serde_json::json!({ "uriTemplate": named, "name": XSS })),
    ] {
        let definitions =
            Definitions::new(DefinitionsOf { list, ..of.clone() }, vec![item.to_string().into()], now);
        store.keep_definitions(&definitions).await.expect("kept");
    }
    let row = AuditRow {
        writer: "w1".into(),
        begin: Place { seq: 1, offset: 0 },
        end: Some(Place { seq: 2, offset: 10 }),
        time: now,
        kind: "call".into(),
        call: Some(7),
        tenant: Some("acme".into()),
        agent: Some("ref".into()),
        server: Some("crm".into()),
        method: Some("tools/call".into()),
        public_name: Some(name.clone()),
        native_name: Some(XSS.into()),
        client: Some(XSS.into()),
        outcome: Some("error".into()),
        code: Some(XSS.into()),
        policies: vec![XSS.into()],
        total_us: 1_234,
        ..AuditRow::default()
    };
    let batch = AuditBatch {
        writer: "w1".into(),
        after: None,
        upto: Followed { segment: 1, offset: 20, seq: 2, used: 2 },
        rows: vec![row],
        findings: vec![finding(&name, now)],
        ..AuditBatch::default()
    };
    assert!(store.add_entries(&batch).await.expect("taken in"));
    let shape = |text: &str| {
        let text: bytes::Bytes =
            format!("{{\"description\":\"{text} {}\",\"name\":\"x\"}}", XSS.replace('"', "\\\"")).into();
        tollgate_store::PinShape::new(Digest::of([&text[..]]), text)
    };
    for (text, is_trusted) in [("before", true), ("after", false)] {
        let (kind, shape) = (PinKind::Tool, shape(text));
        let sighting = Sighting { kind, item: name.clone(), shape, is_trusted, is_held: false };
        let server = ServerName::new("crm").expect("a name");
        let sightings =
            Sightings { tenant: Some(acme()), server, items: vec![sighting], at: now, by: XSS.into() };
        store.sight(sightings).await.expect("seen");
    }
    let room = AskingRoom { principal_max: 9, tenant_max: 9 };
    store.ask_approval(approval(&name, now), room).await.expect("asked");
    registered(&store).await;
    let doing = RuleDoing { by: XSS.into(), reason: XSS.into(), at: now };
    let id = RuleSetId::new(Some(acme()), SET).expect("a name");
    let draft = RuleSet::draft(id, format!("// {MARK} {XSS}").into(), &doing);
    let deciding = draft.promoted(1, &doing).expect("there");
    let newer = deciding.written(format!("// newer {XSS}").into(), &doing);
    for set in [draft, deciding, newer] {
        store.put_rules(set).await.expect("kept");
    }
    Fake {
        store,
        ledger: Ledger::off(),
        follower: Follower::of_nothing(),
        self_approval: None,
        pins_locked: false,
        policies: (true, false),
        held_up: None,
    }
}

/// Something that a guard found.
fn finding(name: &Arc<str>, now: Timestamp) -> FindingRow {
    FindingRow {
        writer: "w1".into(),
        seq: 2,
        nth: 0,
        time: now,
        tenant: "acme".into(),
        call: Some(7),
        agent: "ref".into(),
        server: "crm".into(),
        tool: name.clone(),
        rule: "personal.email".into(),
        severity: "high".into(),
        direction: "result".into(),
        action: XSS.into(),
    }
}

/// A call that waits for somebody of a group.
pub(crate) fn approval(name: &Arc<str>, now: Timestamp) -> Approval {
    let text = || Arc::<str>::from(XSS);
    let asked = Asked {
        agent: Some(name.clone()),
        user: None,
        callers: vec![name.clone()],
        endpoint: "".into(),
        method: "tools/call".into(),
        server: "crm".into(),
        native: text(),
        arguments_digest: "d".into(),
        arguments: Some(format!("{{\"{MARK}\":1,{XSS}").into()),
        arguments_whole: None,
        definition: "".into(),
        policy: "".into(),
        rules: vec![text()],
        why: text(),
        risk: text(),
        call: "c".into(),
    };
    Approval {
        id: ApprovalId::new("a1"),
        of: ApprovalOf { tenant: acme(), principal: PrincipalId::new("p"), binding: Digest([3; 32]) },
        asked,
        needs: vec![Needed { group: text(), people: 1 }],
        at: now,
        grant_for: std::time::Duration::from_mins(5),
        standing: StandingOf::Waiting,
        until: now.after(std::time::Duration::from_hours(1)),
        votes: Vec::new(),
        replaces: None,
        replaced_by: None,
        edited: None,
        used_by: None,
    }
}

pub(crate) fn reached() -> Reached {
    Reached { hosts: Vec::new(), is_loopback: true, base: BASE.to_owned() }
}

pub(crate) fn admin(fake: Fake) -> (Admin, Option<Secret>) {
    Admin::new(fake, reached(), AdminSettings::default())
}

/// A key with this grant, in this store.
pub(crate) async fn key_of(store: &Memory, role: Role, tenant: Option<&str>) -> Secret {
    key_with(store, &[Grant { role, tenant: tenant.map(TenantId::new) }]).await
}

/// A key with these grants, in this store.
pub(crate) async fn key_with(store: &Memory, grants: &[Grant]) -> Secret {
    let minted = key::mint_admin().expect("a key");
    let record = AdminKey {
        id: minted.id.clone(),
        name: "tester".into(),
        grants: grants.iter().map(Grant::to_stored).collect(),
        hash: minted.hash,
        created: Timestamp::now(),
        expires: None,
        revoked: None,
        by: "test".into(),
    };
    store.add_admin_key(record).await.expect("added");
    minted.text
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answered {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let is_stream = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream {
            String::new()
        } else {
            let bytes = body.collect().await.expect("a body").to_bytes();
            String::from_utf8(bytes.to_vec()).expect("text")
        };
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The cookie of the session that was set, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        let mut set = self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("text"));
        let session = set.rfind(|text| text.starts_with("tollgate-local=")).expect("a cookie");
        session.split(';').next().expect("a pair").to_owned()
    }

    pub(crate) fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }
}

pub(crate) async fn send(admin: &Admin, request: http::request::Builder, body: &str) -> Answered {
    let request = request.header(HOST, HOST_NAME).body(Body::from(body.to_owned())).expect("a request");
    Answered::of(admin.answer(request).await).await
}

/// As a program asks.
pub(crate) async fn ask(
    admin: &Admin,
    key: &Secret,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answered {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(AUTHORIZATION, format!("Bearer {}", key.expose()));
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    send(admin, request, &body.map(ToString::to_string).unwrap_or_default()).await
}

/// As a browser asks for a page.
pub(crate) async fn get(admin: &Admin, cookie: &str, path: &str) -> Answered {
    send(admin, Request::builder().uri(path).header(COOKIE, cookie), "").await
}

/// As a browser sends a form of this console.
pub(crate) async fn post(admin: &Admin, cookie: &str, path: &str, form: &[(&str, &str)]) -> Answered {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header(COOKIE, cookie)
        .header(ORIGIN, BASE)
        .header("sec-fetch-site", "same-origin")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    send(admin, request, &body).await
}

/// Somebody who has signed in with a key of this role.
pub(crate) async fn signed_in(admin: &Admin, store: &Memory, role: Role) -> String {
    let key = key_of(store, role, None).await;
    let answered = post(admin, "", "/sign-in/key", &[("secret", key.expose())]).await;
    assert_eq!((answered.status, answered.location()), (303, "/"), "{answered:?}");
    answered.cookie()
}

/// What forms of this session show.
pub(crate) fn csrf(page: &str) -> String {
    let at = page.find("name=\"csrf\" value=\"").expect("a form") + "name=\"csrf\" value=\"".len();
    page[at..].split('"').next().expect("a value").to_owned()
}
