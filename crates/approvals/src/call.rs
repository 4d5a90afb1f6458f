//! The one call that an approval is about.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use tollgate_model::{PrincipalId, TenantId, Timestamp};
use tollgate_store::{APPROVAL_TEXT_MAX, Approval, ApprovalId, ApprovalOf, Asked, Digest, Needed, Standing};

use crate::ApprovalSettings;
use crate::settings::Keeps;

/// How many hexadecimal digits an id has: 96 bits.
const ID_DIGITS: usize = 24;
/// How much of the arguments is kept to be shown, in bytes. Their digest is of all of them.
const ARGUMENTS_SHOWN_MAX: usize = 64 * 1024;

/// Everything that a grant is bound to. If any of it is another, it is another call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The caller's tenant.
    pub tenant: &'a TenantId,
    /// Who of the tenant calls.
    pub principal: &'a PrincipalId,
    /// Where it was sent; empty for all servers at once.
    pub endpoint: &'a str,
    /// The method.
    pub method: &'a str,
    /// Whose server it is; empty for one that all tenants share.
    pub holder: &'a str,
    /// The server.
    pub server: &'a str,
    /// The server's own name, or URI, of what is called.
    pub native: &'a str,
    /// All that leaves beside the name, in its canonical form: names in order, no spaces, numbers to the digit.
    pub arguments: &'a [u8],
    /// The digest of the tool's definition.
    pub definition: &'a str,
    /// The digest of the policies.
    pub policy: &'a str,
}

/// Why a call is held, and who has to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The groups that are asked: somebody of each.
    pub groups: Vec<Arc<str>>,
    /// The rules that demand it.
    pub rules: Vec<Arc<str>>,
    /// Why, in words for those who are asked.
    pub why: Arc<str>,
}

impl Call<'_> {
    /// What a grant is good for: this call, agreed to by these groups.
    pub fn of(&self, needs: &[Needed]) -> ApprovalOf {
        let mut parts: Vec<&[u8]> = vec![b"tollgate approval 1"];
        let texts = [self.tenant.as_str(), self.principal.as_str(), self.endpoint, self.method, self.holder];
        parts.extend(texts.map(str::as_bytes));
        parts.extend([self.server, self.native].map(str::as_bytes));
        parts.push(self.arguments);
        parts.extend([self.definition, self.policy].map(str::as_bytes));
        let people: Vec<[u8; 4]> = needs.iter().map(|need| need.people.to_be_bytes()).collect();
        for (need, people) in needs.iter().zip(&people) {
            parts.extend([need.group.as_bytes(), people]);
        }
        ApprovalOf {
            tenant: self.tenant.clone(),
            principal: self.principal.clone(),
            binding: Digest::of(parts),
        }
    }

    /// The approval that is asked for. `shown` are the arguments as they leave and without what is private; `asked` says who
    /// calls and what else people are shown, and what is said there of the call itself is put in place.
    pub fn ask(
        &self,
        (id, now): (ApprovalId, Timestamp),
        hold: &Hold,
        (whole, redacted): (&str, &str),
        asked: Asked,
        settings: &ApprovalSettings,
    ) -> Approval {
        let needs = settings.needs(&hold.groups);
        // What is not shown whole says so.
        let shown = |text: &str| -> Arc<str> {
            match text.floor_char_boundary(ARGUMENTS_SHOWN_MAX) {
                all if all == text.len() => text.into(),
                most => format!("{} … ({} bytes in all)", &text[..most], text.len()).into(),
            }
        };
        let asked = Asked {
            endpoint: self.endpoint.into(),
            method: self.method.into(),
            server: self.server.into(),
            native: self.native.into(),
            arguments_digest: Digest::of([self.arguments]).to_string().into(),
            arguments: (settings.arguments != Keeps::Digest).then(|| shown(redacted)),
            arguments_whole: (settings.arguments == Keeps::Whole).then(|| shown(whole)),
            definition: self.definition.into(),
            policy: self.policy.into(),
            rules: hold.rules.clone(),
            why: hold.why[..hold.why.floor_char_boundary(APPROVAL_TEXT_MAX)].into(),
            ..asked
        };
        Approval {
            id,
            of: self.of(&needs),
            asked,
            needs,
            at: now,
            grant_for: settings.grant,
            standing: Standing::Waiting,
            until: now.after(settings.expiry),
            votes: Vec::new(),
            replaces: None,
            replaced_by: None,
            edited: None,
            used_by: None,
        }
    }
}

/// A fresh id. None if the operating system gives no random bytes.
pub fn fresh_id() -> Option<ApprovalId> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let digits = Digest(bytes).to_string();
    Some(ApprovalId::new(&format!("apr_{}", &digits[..ID_DIGITS])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_another_call() {
        let (tenant, principal) = (TenantId::new("acme"), PrincipalId::new("p"));
        let (other_tenant, other_principal) = (TenantId::new("globex"), PrincipalId::new("q"));
        let call = Call {
            tenant: &tenant,
            principal: &principal,
            endpoint: "e",
            method: "tools/call",
            holder: "acme",
            server: "bank",
            native: "pay",
            arguments: b"{\"a\":1}",
            definition: "d",
            policy: "p",
        };
        let settings = ApprovalSettings::default();
        let needs = settings.needs(&["finance".into()]);
        let others = [
            Call { tenant: &other_tenant, ..call.clone() },
            Call { principal: &other_principal, ..call.clone() },
            Call { endpoint: "", ..call.clone() },
            Call { method: "prompts/get", ..call.clone() },
            Call { holder: "", ..call.clone() },
            Call { server: "bankp", native: "ay", ..call.clone() },
            Call { native: "pay2", ..call.clone() },
            Call { arguments: b"{\"a\":1.0}", ..call.clone() },
            Call { definition: "e", ..call.clone() },
            Call { policy: "q", ..call.clone() },
        ];
        for other in &others {
            assert_ne!(call.of(&needs).binding, other.of(&needs).binding, "{other:?}");
        }
        let more = settings.needs(&["finance".into(), "security".into()]);
        assert_ne!(call.of(&needs).binding, call.of(&more).binding);
        let two = ApprovalSettings { people_min: 2, ..settings.clone() }.needs(&["finance".into()]);
        assert_ne!(call.of(&needs).binding, call.of(&two).binding);
        let again = settings.needs(&["security".into(), "finance".into(), "security".into()]);
        assert_eq!(call.of(&more), call.of(&again));
    }

    #[test]
    fn what_is_kept_of_the_arguments_is_what_the_operator_says() {
        let (tenant, principal) = (TenantId::new("acme"), PrincipalId::new("p"));
        let call = Call {
            tenant: &tenant,
            principal: &principal,
            endpoint: "",
            method: "tools/call",
            holder: "",
            server: "bank",
            native: "pay",
            arguments: b"{}",
            definition: "",
            policy: "",
        };
        let hold = Hold { groups: vec!["finance".into()], rules: Vec::new(), why: "because".into() };
        let asked = tollgate_store::suite::approval("x", 1).asked;
        for (keeps, redacted, whole) in [
            (Keeps::Digest, None, None),
            (Keeps::Redacted, Some("r"), None),
            (Keeps::Whole, Some("r"), Some("w")),
        ] {
            let settings = ApprovalSettings { arguments: keeps, ..ApprovalSettings::default() };
            let id = (fresh_id().expect("random"), Timestamp::from_ms(1));
            let made = call.ask(id, &hold, ("w", "r"), asked.clone(), &settings);
            assert_eq!(made.asked.arguments.as_deref(), redacted);
            assert_eq!(made.asked.arguments_whole.as_deref(), whole);
            assert_eq!((&*made.asked.native, made.until.as_ms()), ("pay", 3_600_001));
        }
        assert_ne!(fresh_id(), fresh_id());
    }
}
