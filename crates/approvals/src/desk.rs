//! Who may say something about an approval, wherever they say it: at the command line, in the console, by the API.

use std::sync::Arc;

use tollgate_mcp::{JsonKind, Limits, Message, canonical};
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{
    APPROVAL_TEXT_MAX, Approval, ApprovalId, ApprovalOf, Approvals, Digest, NotCounted, Standing, StoreError,
    Vote, WhichApprovals,
};

use crate::{ApprovalSettings, Keeps, fresh_id};

/// Somebody who looks at approvals, and may agree to some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// Whose approvals they may know of; none: everybody's, as who works at the machine itself may.
    pub tenant: Option<TenantId>,
    /// Their name, as callers are named (`okta:ada`).
    pub name: Arc<str>,
    /// Further names of theirs: none of these may be the caller either.
    pub also: Vec<Arc<str>>,
    /// Their groups, as who signed them in says.
    pub groups: Vec<Arc<str>>,
    /// Their roles.
    pub roles: Vec<Arc<str>>,
    /// How they say it, for the record: `console`, `api`, `cli root`.
    pub via: Arc<str>,
}

/// Why a word was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// It does not count.
    #[error("{0}")]
    NotCounted(#[from] NotCounted),
    /// The arguments that should stand in place of the caller's are no JSON object, or have a name twice.
    #[error("the arguments are no JSON object in which every name stands once")]
    NoArguments,
    /// The reason is too long, or no single line of text.
    #[error("the reason is longer than {APPROVAL_TEXT_MAX} bytes, or has control characters in it")]
    NoReason,
    /// No random bytes are to be had.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// The store does not do its part.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Where approvals are looked at and decided.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    store: &'a dyn Approvals,
    settings: &'a ApprovalSettings,
}

impl<'a> Desk<'a> {
    /// On this store, by these rules.
    pub fn new(store: &'a dyn Approvals, settings: &'a ApprovalSettings) -> Self {
        Self { store, settings }
    }

    /// Approvals that somebody may know of, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, who: &Approver, which: &WhichApprovals) -> Result<Vec<Approval>, StoreError> {
        let tenant = who.tenant.clone().or_else(|| which.tenant.clone());
        self.store.approvals(&WhichApprovals { tenant, ..which.clone() }).await
    }

    /// One approval; none if there is none that they may know of.
    ///
    /// # Errors
    /// The store's.
    pub async fn show(&self, who: &Approver, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        let found = self.store.approval(id).await?;
        Ok(found.filter(|found| who.tenant.as_ref().is_none_or(|tenant| *tenant == found.of.tenant)))
    }

    /// For which of the groups that are asked somebody may speak.
    pub fn speaks_for(&self, who: &Approver, approval: &Approval) -> Vec<Arc<str>> {
        let has = |theirs: &[Arc<str>], wanted: &[Arc<str>]| theirs.iter().any(|one| wanted.contains(one));
        let is_of = |group: &Arc<str>| match self.settings.groups.get(group) {
            Some(known) => {
                known.users.contains(&who.name)
                    || has(&who.groups, &known.groups)
                    || has(&who.roles, &known.roles)
            }
            None => who.groups.contains(group),
        };
        approval.needs.iter().map(|need| &need.group).filter(|group| is_of(group)).cloned().collect()
    }

    /// Whether somebody could agree to it now; else why not.
    ///
    /// # Errors
    /// [`NotCounted`].
    pub fn may_approve(&self, who: &Approver, approval: &Approval, now: Timestamp) -> Result<(), NotCounted> {
        approval.voted(self.vote(who, approval, true, ("", now))?).map(drop)
    }

    /// Agrees to an approval, or does not.
    ///
    /// # Errors
    /// [`NotDecided`]: nothing changes.
    pub async fn decide(
        &self,
        who: &Approver,
        id: &ApprovalId,
        agrees: bool,
        (reason, now): (&str, Timestamp),
    ) -> Result<Approval, NotDecided> {
        check(reason)?;
        let found = self.show(who, id).await?.ok_or(NotCounted::NoSuch)?;
        let vote = self.vote(who, &found, agrees, (reason, now))?;
        Ok(self.store.vote_approval(id, vote).await??)
    }

    /// Agrees to other arguments than the caller's. That is an approval of its own, which counts as asked for and agreed to by
    /// whoever changed them; policy decides on the arguments before they leave. `redact` takes out what is private.
    ///
    /// # Errors
    /// [`NotDecided`]: nothing changes.
    pub async fn edit(
        &self,
        who: &Approver,
        id: &ApprovalId,
        (arguments, redact): (&str, fn(&[u8]) -> String),
        (reason, now): (&str, Timestamp),
    ) -> Result<Approval, NotDecided> {
        check(reason)?;
        let (arguments, canonical) = read(arguments).ok_or(NotDecided::NoArguments)?;
        let found = self.show(who, id).await?.ok_or(NotCounted::NoSuch)?;
        let vote = self.vote(who, &found, true, (reason, now))?;
        let mut asked = found.asked.clone();
        asked.arguments_digest = Digest::of([&*canonical]).to_string().into();
        asked.arguments =
            (self.settings.arguments != Keeps::Digest).then(|| redact(arguments.as_bytes()).into());
        asked.arguments_whole = None;
        let by = Approval {
            id: fresh_id().ok_or(NotDecided::NoRandomness)?,
            // The gateway finds it by the one that it replaces, and takes it by this.
            of: edited_of(&found.of, &canonical),
            asked,
            at: now,
            standing: Standing::Waiting,
            until: found.until,
            votes: Vec::new(),
            replaces: None,
            replaced_by: None,
            edited: Some(arguments.into()),
            used_by: None,
            ..found
        };
        Ok(self.store.replace_approval(id, by, vote).await??)
    }

    fn vote(
        &self,
        who: &Approver,
        approval: &Approval,
        agrees: bool,
        (reason, at): (&str, Timestamp),
    ) -> Result<Vote, NotCounted> {
        if agrees && who.also.iter().any(|name| approval.is_own(name)) {
            return Err(NotCounted::OwnCall);
        }
        let (by, via) = (Arc::clone(&who.name), Arc::clone(&who.via));
        Ok(Vote { by, via, agrees, groups: self.speaks_for(who, approval), reason: reason.into(), at })
    }
}

/// What a grant of other arguments is good for: the same call, with these in place of its own.
pub fn edited_of(of: &ApprovalOf, canonical: &[u8]) -> ApprovalOf {
    let parts: [&[u8]; 3] = [b"tollgate approval edited 1", &of.binding.0, canonical];
    ApprovalOf { binding: Digest::of(parts), ..of.clone() }
}

/// A JSON object in which every name stands once, and its canonical form.
fn read(text: &str) -> Option<(&str, Vec<u8>)> {
    let text = text.trim();
    let message =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":{text}}}}}"#);
    let message = Message::parse(message.into(), &Limits::default()).ok()?;
    let span = message.member("arguments")?;
    // Nothing may have been smuggled in beside it.
    if message.kind_of(span) != JsonKind::Object || message.raw(span) != text {
        return None;
    }
    let mut form = Vec::new();
    canonical(message.bytes(), span, &mut form);
    Some((text, form))
}

fn check(reason: &str) -> Result<(), NotDecided> {
    if reason.len() > APPROVAL_TEXT_MAX || reason.chars().any(char::is_control) {
        return Err(NotDecided::NoReason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tollgate_store::suite::approval;
    use tollgate_store::{Asking, AskingRoom, Memory};

    use super::*;
    use crate::Group;

    fn who(name: &str) -> Approver {
        let (name, via) = (name.into(), "api".into());
        Approver { tenant: None, name, also: Vec::new(), groups: Vec::new(), roles: Vec::new(), via }
    }

    fn settings() -> ApprovalSettings {
        let finance = Group {
            users: vec!["bob".into(), "ada".into()],
            groups: vec!["idp-finance".into()],
            roles: vec!["security".into()],
            people_min: None,
        };
        ApprovalSettings {
            groups: BTreeMap::from([("finance".into(), finance)]),
            ..ApprovalSettings::default()
        }
    }

    async fn asked() -> (Memory, Approval) {
        let (store, asked) = (Memory::default(), approval("a1", 1));
        let room = AskingRoom { principal_max: 9, tenant_max: 9 };
        assert_eq!(store.ask_approval(asked.clone(), room).await.expect("asked"), Asking::New);
        (store, asked)
    }

    const NOW: Timestamp = Timestamp::from_ms(1_500);

    #[tokio::test]
    async fn only_people_of_the_group_may_agree() {
        let (settings, (store, asked)) = (settings(), asked().await);
        let desk = Desk::new(&store, &settings);
        let strangers = [
            who("eve"),
            Approver { groups: vec!["finance".into()], ..who("eve") },
            Approver { roles: vec!["viewer".into()], ..who("eve") },
            Approver { also: vec!["bob".into()], ..who("eve") },
        ];
        for stranger in &strangers {
            let said = desk.decide(stranger, &asked.id, true, ("", NOW)).await;
            assert!(matches!(said, Err(NotDecided::NotCounted(NotCounted::NotAsked))), "{stranger:?}");
        }
        for one in [
            who("bob"),
            Approver { groups: vec!["idp-finance".into()], ..who("cid") },
            Approver { roles: vec!["security".into()], ..who("dan") },
        ] {
            assert_eq!(desk.may_approve(&one, &asked, NOW), Ok(()), "{one:?}");
        }
        assert_eq!(desk.may_approve(&who("ada"), &asked, NOW), Err(NotCounted::OwnCall));
        let alias = Approver { also: vec!["okta:ada".into()], ..who("bob") };
        assert_eq!(desk.may_approve(&alias, &asked, NOW), Err(NotCounted::OwnCall));
        // A group that the configuration does not have is what approvers bring with them.
        let bare = ApprovalSettings::default();
        let desk = Desk::new(&store, &bare);
        let member = Approver { groups: vec!["finance".into()], ..who("bob") };
        assert_eq!(desk.may_approve(&member, &asked, NOW), Ok(()));
        assert_eq!(desk.may_approve(&who("bob"), &asked, NOW), Err(NotCounted::NotAsked));
    }

    #[tokio::test]
    async fn another_tenants_approval_is_as_good_as_unknown() {
        let (settings, (store, asked)) = (settings(), asked().await);
        let desk = Desk::new(&store, &settings);
        let other = Approver { tenant: Some(TenantId::new("globex")), ..who("bob") };
        let which =
            WhichApprovals { tenant: Some(asked.of.tenant.clone()), most: 9, ..WhichApprovals::default() };
        assert!(desk.list(&other, &which).await.expect("read").is_empty());
        assert_eq!(desk.show(&other, &asked.id).await.expect("read"), None);
        let said = desk.decide(&other, &asked.id, true, ("", NOW)).await;
        assert!(matches!(said, Err(NotDecided::NotCounted(NotCounted::NoSuch))));
        let own = Approver { tenant: Some(asked.of.tenant.clone()), ..who("bob") };
        assert_eq!(desk.list(&own, &which).await.expect("read").len(), 1);
        let granted = desk.decide(&own, &asked.id, true, ("fine", NOW)).await.expect("granted");
        assert_eq!(granted.standing, Standing::Granted);
    }

    #[tokio::test]
    async fn other_arguments_are_an_object_and_an_approval_of_its_own() {
        let (settings, (store, asked)) = (settings(), asked().await);
        let desk = Desk::new(&store, &settings);
        let redact = |_: &[u8]| "{}".to_owned();
        for bad in ["", "[1]", "{\"a\":1,\"a\":2}", "{\"a\":1},\"name\":\"x\"", "{}}", "{\"a\":\"\\ud800\"}"]
        {
            let said = desk.edit(&who("bob"), &asked.id, (bad, redact), ("", NOW)).await;
            assert!(matches!(said, Err(NotDecided::NoArguments)), "{bad}");
        }
        let long = "x".repeat(APPROVAL_TEXT_MAX + 1);
        for bad in ["two\nlines", &*long] {
            let said = desk.edit(&who("bob"), &asked.id, ("{}", redact), (bad, NOW)).await;
            assert!(matches!(said, Err(NotDecided::NoReason)));
        }
        let text = " { \"b\": 1.0, \"a\": \"x\" } ";
        let new = desk.edit(&who("bob"), &asked.id, (text, redact), ("less", NOW)).await.expect("edited");
        assert_eq!(new.edited.as_deref(), Some(text.trim()));
        assert_eq!(new.of, edited_of(&asked.of, br#"{"a":"x","b":1.0}"#));
        assert_eq!((new.standing, new.replaces.as_ref()), (Standing::Granted, Some(&asked.id)));
        assert_eq!((new.asked.arguments.as_deref(), new.asked.arguments_whole), (Some("{}"), None));
        let (store, asked) = self::asked().await;
        let settings = ApprovalSettings { arguments: Keeps::Digest, ..settings };
        let desk = Desk::new(&store, &settings);
        let new = desk.edit(&who("bob"), &asked.id, (text, redact), ("less", NOW)).await.expect("edited");
        assert_eq!(new.asked.arguments, None, "nothing is kept but what has to leave");
    }
}
