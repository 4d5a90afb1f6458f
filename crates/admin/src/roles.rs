//! Who may do what: the roles, and the one table that says what each may.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tollgate_model::TenantId;
use tollgate_store::AdminGrant;

/// What somebody is, in one tenant or in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Everything but deciding on calls that wait for approval.
    Admin,
    /// What protects: blocks, revocations, keys, policies, pins, guards.
    Security,
    /// What keeps it running: pauses, blocks, servers.
    Operator,
    /// Answers for servers.
    ServerOwner,
    /// Decides on calls that wait for approval.
    Approver,
    /// Reads everything, and changes nothing.
    Auditor,
    /// Sees how it does.
    Viewer,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Admin,
        Self::Security,
        Self::Operator,
        Self::ServerOwner,
        Self::Approver,
        Self::Auditor,
        Self::Viewer,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Security => "security",
            Self::Operator => "operator",
            Self::ServerOwner => "server-owner",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
        }
    }

    /// From how it is written.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role, and the tenant in which somebody has it; none for every tenant, and for what is no tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The tenant.
    pub tenant: Option<TenantId>,
}

impl Grant {
    /// From what is stored. A role that this program does not know gives nothing.
    pub(crate) fn of_stored(stored: &AdminGrant) -> Option<Self> {
        Some(Self { role: Role::read(&stored.role)?, tenant: stored.tenant.clone() })
    }

    /// As it is stored.
    pub fn to_stored(&self) -> AdminGrant {
        AdminGrant { role: Arc::from(self.role.as_str()), tenant: self.tenant.clone() }
    }
}

/// What something is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Resource {
    /// How the gateway does: rates, errors, what is degraded.
    Overview,
    /// Servers and how they do.
    Servers,
    /// What servers last listed.
    Tools,
    /// API keys of agents.
    Keys,
    /// Keys of machines that administer.
    AdminKeys,
    /// Tokens, users and agents that are taken back.
    Revocations,
    /// What operators have stopped.
    Blocks,
    /// Agents that are paused.
    Pauses,
    /// How much was used, and how much may be.
    Usage,
    /// The record.
    Ledger,
    /// Calls that wait until people agree.
    Approvals,
    /// Definitions of servers that are pinned.
    Pins,
    /// Policies.
    Policies,
    /// How the gateway is set up.
    Settings,
    /// How registered servers are reached, and what is found when they are looked at.
    Reviews,
    /// The tenants.
    Tenants,
    /// What guards found.
    Findings,
}

impl Resource {
    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Servers => "servers",
            Self::Tools => "tools",
            Self::Keys => "keys",
            Self::AdminKeys => "admin-keys",
            Self::Revocations => "revocations",
            Self::Blocks => "blocks",
            Self::Pauses => "pauses",
            Self::Usage => "usage",
            Self::Ledger => "ledger",
            Self::Approvals => "approvals",
            Self::Pins => "pins",
            Self::Policies => "policies",
            Self::Settings => "settings",
            Self::Reviews => "reviews",
            Self::Tenants => "tenants",
            Self::Findings => "findings",
        }
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Act {
    /// It is looked at.
    Read,
    /// It is made, changed or removed.
    Change,
}

impl Act {
    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
        }
    }
}

/// Who may do what. What is not here nobody may.
const TABLE: &[(Resource, Act, &[Role])] = {
    use Act::{Change, Read};
    use Resource::{
        AdminKeys, Approvals, Blocks, Findings, Keys, Ledger, Overview, Pauses, Pins, Policies, Reviews,
        Revocations, Servers, Settings, Tenants, Tools, Usage,
    };
    use Role::{Admin, Approver, Auditor, Operator, Security, ServerOwner, Viewer};
    &[
        (Overview, Read, &[Admin, Security, Operator, ServerOwner, Approver, Auditor, Viewer]),
        (Servers, Read, &[Admin, Security, Operator, ServerOwner, Approver, Auditor, Viewer]),
        (Tools, Read, &[Admin, Security, Operator, ServerOwner, Approver, Auditor, Viewer]),
        (Keys, Read, &[Admin, Security, Operator, Auditor]),
        (Keys, Change, &[Admin, Security]),
        (AdminKeys, Read, &[Admin, Security, Auditor]),
        (AdminKeys, Change, &[Admin]),
        (Revocations, Read, &[Admin, Security, Operator, Auditor]),
        (Revocations, Change, &[Admin, Security]),
        (Blocks, Read, &[Admin, Security, Operator, ServerOwner, Auditor, Viewer]),
        (Blocks, Change, &[Admin, Security, Operator]),
        (Pauses, Read, &[Admin, Security, Operator, ServerOwner, Auditor, Viewer]),
        (Pauses, Change, &[Admin, Security, Operator]),
        (Usage, Read, &[Admin, Security, Operator, ServerOwner, Auditor, Viewer]),
        (Ledger, Read, &[Admin, Security, Auditor]),
        (Approvals, Read, &[Admin, Security, Approver, Auditor]),
        (Approvals, Change, &[Approver]),
        (Pins, Read, &[Admin, Security, Operator, ServerOwner, Auditor]),
        (Pins, Change, &[Admin, Security]),
        (Policies, Read, &[Admin, Security, Operator, ServerOwner, Auditor]),
        (Settings, Read, &[Admin, Security, Operator, Auditor]),
        // A server-owner changes what is their own: see `acts::servers`.
        (Servers, Change, &[Admin, Security, Operator, ServerOwner]),
        (Reviews, Read, &[Admin, Security, Operator, ServerOwner, Auditor]),
        (Reviews, Change, &[Admin, Security]),
        (Policies, Change, &[Admin, Security]),
        (Tenants, Read, &[Admin, Security, Operator, ServerOwner, Auditor, Viewer]),
        (Findings, Read, &[Admin, Security, Operator, ServerOwner, Auditor]),
    ]
};

/// Whether a role may.
pub(crate) fn allows(role: Role, resource: Resource, act: Act) -> bool {
    TABLE.iter().any(|(what, how, roles)| (*what, *how) == (resource, act) && roles.contains(&role))
}

/// All that can be allowed.
pub(crate) fn all() -> impl Iterator<Item = (Resource, Act)> {
    TABLE.iter().map(|(resource, act, _)| (*resource, *act))
}

/// Something that can be allowed: a row of the table, as a type.
pub(crate) trait Permission: Send + Sync + 'static {
    const RESOURCE: Resource;
    const ACT: Act;

    /// Whether a role has it.
    fn is_for(role: Role) -> bool {
        allows(role, Self::RESOURCE, Self::ACT)
    }
}

macro_rules! permissions {
    ($($name:ident: $resource:ident $act:ident),+ $(,)?) => { $(
        /// A row of the table.
        #[derive(Debug)]
        pub(crate) enum $name {}

        impl Permission for $name {
            const RESOURCE: Resource = Resource::$resource;
            const ACT: Act = Act::$act;
        }
    )+ };
}

permissions! {
    ReadOverview: Overview Read,
    ReadServers: Servers Read,
    ReadTools: Tools Read,
    ReadKeys: Keys Read,
    ChangeKeys: Keys Change,
    ReadAdminKeys: AdminKeys Read,
    ChangeAdminKeys: AdminKeys Change,
    ReadRevocations: Revocations Read,
    ChangeRevocations: Revocations Change,
    ReadBlocks: Blocks Read,
    ChangeBlocks: Blocks Change,
    ReadPauses: Pauses Read,
    ChangePauses: Pauses Change,
    ReadUsage: Usage Read,
    ReadLedger: Ledger Read,
    ReadApprovals: Approvals Read,
    ChangeApprovals: Approvals Change,
    ReadPins: Pins Read,
    ChangePins: Pins Change,
    ReadPolicies: Policies Read,
    ReadSettings: Settings Read,
    ChangeServers: Servers Change,
    ReadReviews: Reviews Read,
    ChangeReviews: Reviews Change,
    ChangePolicies: Policies Change,
    ReadTenants: Tenants Read,
    ReadFindings: Findings Read,
}

/// The tenants over which somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Over {
    /// Every tenant, and what is no tenant's.
    All,
    /// These.
    These(Vec<TenantId>),
}

impl Over {
    /// Where these grants allow it; none if nowhere.
    pub(crate) fn of(grants: &[Grant], resource: Resource, act: Act) -> Option<Self> {
        let mut tenants = Vec::new();
        for grant in grants.iter().filter(|grant| allows(grant.role, resource, act)) {
            match &grant.tenant {
                None => return Some(Self::All),
                // Two roles in one tenant are one tenant: what is read of each tenant would be there twice.
                Some(tenant) if tenants.contains(tenant) => {}
                Some(tenant) => tenants.push(tenant.clone()),
            }
        }
        (!tenants.is_empty()).then_some(Self::These(tenants))
    }

    fn has(&self, tenant: Option<&TenantId>) -> bool {
        match (self, tenant) {
            (Self::All, _) => true,
            (Self::These(_), None) => false,
            (Self::These(these), Some(tenant)) => these.contains(tenant),
        }
    }
}

/// The proof that somebody may do something, at least in one tenant. Only the check makes one.
#[derive(Debug)]
pub(crate) struct May<P> {
    pub(crate) who: Operator,
    over: Over,
    of: PhantomData<fn() -> P>,
}

/// The proof that somebody may do it to what is this tenant's (or, without one, no tenant's). Only [`May`] makes one.
#[derive(Debug)]
pub(crate) struct Sure<P> {
    pub(crate) who: Operator,
    pub(crate) tenant: Option<TenantId>,
    of: PhantomData<fn() -> P>,
}

/// They may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied;

impl<P: Permission> May<P> {
    /// The check.
    pub(crate) fn check(who: Operator) -> Result<Self, Denied> {
        let over = Over::of(&who.grants, P::RESOURCE, P::ACT).ok_or(Denied)?;
        Ok(Self { who, over, of: PhantomData })
    }

    /// Whether they may do it to what is this tenant's. What is every tenant's (`None`) everybody may look at, and only
    /// those may change who may do so in every tenant.
    pub(crate) fn sees(&self, tenant: Option<&TenantId>) -> bool {
        self.over.has(tenant) || (tenant.is_none() && P::ACT == Act::Read)
    }

    /// Whether they may do it everywhere.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.over == Over::All
    }

    /// The tenants to which they are bound; none if to none.
    pub(crate) fn tenants(&self) -> Option<&[TenantId]> {
        match &self.over {
            Over::All => None,
            Over::These(tenants) => Some(tenants),
        }
    }

    /// The proof for one tenant, or for what is no tenant's.
    pub(crate) fn over(&self, tenant: Option<&TenantId>) -> Result<Sure<P>, Denied> {
        if !self.over.has(tenant) {
            return Err(Denied);
        }
        Ok(Sure { who: self.who.clone(), tenant: tenant.cloned(), of: PhantomData })
    }
}

/// Somebody who administers.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    /// As the record has them.
    pub(crate) by: Arc<str>,
    /// What they are called.
    pub(crate) name: Arc<str>,
    /// How they came in: `oidc`, `key`, `link` or `cli`.
    pub(crate) how: Arc<str>,
    /// The groups that they are in, as who signed them in says.
    pub(crate) groups: Vec<Arc<str>>,
    /// What they are.
    pub(crate) grants: Vec<Grant>,
    /// What their forms and writes have to show; none where nothing comes along by itself (a key in a header).
    pub(crate) csrf: Option<Arc<str>>,
}

impl Operator {
    /// Whether they may do it anywhere: for what is shown of a page's ways on.
    pub(crate) fn may(&self, resource: Resource, act: Act) -> bool {
        Over::of(&self.grants, resource, act).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(grants: &[(Role, Option<&str>)]) -> Operator {
        let grant =
            |(role, tenant): &(Role, Option<&str>)| Grant { role: *role, tenant: tenant.map(TenantId::new) };
        Operator {
            by: "ada".into(),
            name: "Ada".into(),
            how: "key".into(),
            groups: Vec::new(),
            grants: grants.iter().map(grant).collect(),
            csrf: None,
        }
    }

    #[test]
    fn a_role_holds_in_its_tenant_only() {
        let acme = TenantId::new("acme");
        let globex = TenantId::new("globex");
        let may = May::<ChangeBlocks>::check(operator(&[
            (Role::Operator, Some("acme")),
            (Role::Viewer, None),
            (Role::Auditor, Some("globex")),
        ]));
        let may = may.expect("in one");
        assert!(may.over(Some(&acme)).is_ok());
        assert_eq!(may.over(Some(&globex)).map(drop), Err(Denied));
        assert_eq!(may.over(None).map(drop), Err(Denied), "what is everybody's");
        let read = May::<ReadBlocks>::check(operator(&[(Role::Operator, Some("acme"))])).expect("in one");
        assert!(read.sees(Some(&acme)) && read.sees(None) && !read.sees(Some(&globex)));
        let all = May::<ChangeBlocks>::check(operator(&[(Role::Security, None)])).expect("in all");
        assert!(all.over(None).is_ok() && all.over(Some(&globex)).is_ok());
        assert!(May::<ChangeBlocks>::check(operator(&[(Role::Viewer, None)])).is_err());
        assert!(May::<ReadOverview>::check(operator(&[])).is_err(), "no role");
    }

    #[test]
    fn two_roles_in_a_tenant_are_one_tenant() {
        let grants =
            [(Role::Auditor, Some("acme")), (Role::Security, Some("acme")), (Role::Admin, Some("globex"))];
        let may = May::<ReadUsage>::check(operator(&grants)).expect("in two");
        assert_eq!(may.tenants(), Some(&[TenantId::new("acme"), TenantId::new("globex")][..]));
    }

    #[test]
    fn every_row_is_there_once_and_names_each_role_once() {
        for (nth, (resource, act, roles)) in TABLE.iter().enumerate() {
            assert!(!TABLE[nth + 1..].iter().any(|(what, how, _)| (what, how) == (resource, act)));
            for (nth, role) in roles.iter().enumerate() {
                assert!(!roles[nth + 1..].contains(role), "{resource:?} {act:?} {role}");
            }
        }
        for role in Role::ALL {
            assert_eq!(Role::read(role.as_str()), Some(role));
        }
        assert!(!allows(Role::Auditor, Resource::Blocks, Act::Change));
    }
}
