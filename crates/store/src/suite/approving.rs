//! Approvals: what is asked, what people say, and who gets the grant.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use tollgate_model::{PrincipalId, TenantId, Timestamp};

use super::{Place, approval, open};
use crate::{
    APPROVALS_KEPT, Approval, ApprovalId, ApprovalOf, Asking, AskingRoom, Needed, NotCounted, Standing,
    Store, Vote, WhichApprovals,
};

const ROOM: AskingRoom = AskingRoom { principal_max: 100, tenant_max: 100 };

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn vote(by: &str, agrees: bool) -> Vote {
    Vote {
        by: by.into(),
        via: "api".into(),
        agrees,
        groups: vec!["finance".into()],
        reason: "fine".into(),
        at: ms(1_500),
    }
}

async fn granted(store: &dyn Store, asked: &Approval) -> Approval {
    assert_eq!(store.ask_approval(asked.clone(), ROOM).await.unwrap(), Asking::New);
    let granted = store.vote_approval(&asked.id, vote("bob", true)).await.unwrap().unwrap();
    assert_eq!(granted.standing, Standing::Granted);
    granted
}

pub async fn approvals_are_kept_as_they_were_asked_for(place: &dyn Place) {
    let store = open(place);
    let all: Vec<Approval> = [(1, "acme"), (2, "acme"), (3, "globex")]
        .into_iter()
        .map(|(nth, tenant)| {
            let mut asked = approval(&format!("a{nth}"), nth);
            (asked.of.tenant, asked.at) = (TenantId::new(tenant), ms(1_000 + nth));
            asked
        })
        .collect();
    for asked in &all {
        assert_eq!(store.ask_approval(asked.clone(), ROOM).await.unwrap(), Asking::New);
    }
    let store = open(place);
    assert_eq!(store.approval(&all[1].id).await.unwrap().as_ref(), Some(&all[1]));
    assert_eq!(store.approval(&ApprovalId::new("other")).await.unwrap(), None);
    let ids = async |which: WhichApprovals| {
        let found = store.approvals(&WhichApprovals { most: which.most.max(1), ..which }).await.unwrap();
        found.iter().map(|found| found.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    let most = 9;
    assert_eq!(ids(WhichApprovals { most, ..WhichApprovals::default() }).await, ["a3", "a2", "a1"]);
    let acme = Some(TenantId::new("acme"));
    assert_eq!(
        ids(WhichApprovals { tenant: acme.clone(), most: 1, ..WhichApprovals::default() }).await,
        ["a2"]
    );
    let after = Some((all[2].at, all[2].id.clone()));
    assert_eq!(ids(WhichApprovals { after, most, ..WhichApprovals::default() }).await, ["a2", "a1"]);
    store.vote_approval(&all[1].id, vote("bob", false)).await.unwrap().unwrap();
    let waiting_at = Some(ms(2_000));
    assert_eq!(ids(WhichApprovals { waiting_at, most, ..WhichApprovals::default() }).await, ["a3", "a1"]);
    let waiting_at = Some(all[0].until);
    assert!(ids(WhichApprovals { waiting_at, most, ..WhichApprovals::default() }).await.is_empty());
}

pub async fn the_same_call_is_asked_about_once(place: &dyn Place) {
    let store = open(place);
    let asked = approval("a1", 1);
    assert_eq!(store.ask_approval(asked.clone(), ROOM).await.unwrap(), Asking::New);
    let head = store.head().await.unwrap();
    let again = Approval { id: ApprovalId::new("a2"), at: ms(2_000), ..asked.clone() };
    assert_eq!(
        store.ask_approval(again.clone(), ROOM).await.unwrap(),
        Asking::Known(Box::new(asked.clone()))
    );
    assert_eq!(store.head().await.unwrap(), head, "it is no news");
    let denied = store.vote_approval(&asked.id, vote("bob", false)).await.unwrap().unwrap();
    assert_eq!(store.ask_approval(again.clone(), ROOM).await.unwrap(), Asking::Known(Box::new(denied)));
    let later = Approval { id: ApprovalId::new("a3"), at: asked.until, until: ms(20_000), ..again };
    assert_eq!(store.ask_approval(later.clone(), ROOM).await.unwrap(), Asking::New, "its time is over");
    assert!(store.withdraw_approval(&later.id, ms(10_500)).await.unwrap());
    assert!(!store.withdraw_approval(&later.id, ms(10_501)).await.unwrap());
    assert!(!store.withdraw_approval(&asked.id, ms(10_501)).await.unwrap());
    let once_more = Approval { id: ApprovalId::new("a4"), at: ms(10_501), ..later };
    assert_eq!(store.ask_approval(once_more, ROOM).await.unwrap(), Asking::New);
}

pub async fn no_more_wait_than_may(place: &dyn Place) {
    let store = open(place);
    let room = AskingRoom { principal_max: 2, tenant_max: 3 };
    let of = |nth: u64, tenant: &str, principal: &str| {
        let mut asked = approval(&format!("a{nth}"), nth);
        (asked.of.tenant, asked.of.principal) = (TenantId::new(tenant), PrincipalId::new(principal));
        asked
    };
    let ask = async |asked: Approval| store.ask_approval(asked, room).await.unwrap();
    assert_eq!(ask(of(1, "acme", "p")).await, Asking::New);
    assert_eq!(ask(of(2, "acme", "p")).await, Asking::New);
    assert_eq!(ask(of(3, "acme", "p")).await, Asking::Full);
    assert_eq!(ask(of(3, "acme", "q")).await, Asking::New);
    assert_eq!(ask(of(4, "acme", "r")).await, Asking::Full);
    assert_eq!(ask(of(4, "globex", "p")).await, Asking::New);
    store.vote_approval(&ApprovalId::new("a1"), vote("bob", true)).await.unwrap().unwrap();
    assert_eq!(ask(of(5, "acme", "p")).await, Asking::New, "one waits no more");
    assert!(store.withdraw_approval(&ApprovalId::new("a5"), ms(1_500)).await.unwrap());
    assert_eq!(ask(of(5, "acme", "p")).await, Asking::Full, "whoever gives up cannot ask again and again");
    let mut late = of(6, "acme", "p");
    (late.at, late.until) = (ms(10_000), ms(20_000));
    assert_eq!(ask(late).await, Asking::New, "the others are over");
}

pub async fn a_grant_is_given_to_one_of_many(place: &dyn Place) {
    let asked = approval("a1", 1);
    granted(&*open(place), &asked).await;
    let racing: Vec<_> = (0..8)
        .map(|nth| {
            let (store, of) = (open(place), asked.of.clone());
            tokio::spawn(async move { store.use_approval(&of, &format!("c{nth}"), ms(1_600)).await })
        })
        .collect();
    let mut won = Vec::new();
    for one in racing {
        won.extend(one.await.unwrap().unwrap());
    }
    let [won] = &won[..] else { panic!("{} got it", won.len()) };
    assert_eq!((won.standing, won.until), (Standing::Used, ms(1_600)));
    assert_eq!(won.asked.arguments_whole, None, "they are of no more use");
    assert_eq!(open(place).approval(&asked.id).await.unwrap().as_ref(), Some(won));
    let next = Approval { id: ApprovalId::new("a2"), at: ms(1_700), ..asked };
    assert_eq!(
        open(place).ask_approval(next, ROOM).await.unwrap(),
        Asking::New,
        "it has to be asked for anew"
    );
}

pub async fn a_grant_is_good_for_its_own_call(place: &dyn Place) {
    let store = open(place);
    let asked = approval("a1", 1);
    let given = granted(&*store, &asked).await;
    let other = approval("other", 2).of;
    for of in [
        ApprovalOf { tenant: TenantId::new("globex"), ..asked.of.clone() },
        ApprovalOf { principal: PrincipalId::new("bot/eve"), ..asked.of.clone() },
        ApprovalOf { binding: other.binding, ..asked.of.clone() },
    ] {
        assert_eq!(store.use_approval(&of, "c", ms(1_600)).await.unwrap(), None, "{of:?}");
    }
    assert_eq!(store.use_approval(&asked.of, "c", given.until).await.unwrap(), None, "it has ended");
    let waiting = approval("a2", 2);
    assert_eq!(store.ask_approval(waiting.clone(), ROOM).await.unwrap(), Asking::New);
    assert_eq!(store.use_approval(&waiting.of, "c", ms(1_600)).await.unwrap(), None, "nobody has agreed");
    assert!(store.use_approval(&asked.of, "c", ms(1_600)).await.unwrap().is_some());
    assert_eq!(store.use_approval(&asked.of, "c", ms(1_600)).await.unwrap(), None, "it was used");
}

pub async fn of_two_words_at_once_both_count(place: &dyn Place) {
    let asked = Approval { needs: vec![Needed { group: "finance".into(), people: 4 }], ..approval("a1", 1) };
    assert_eq!(open(place).ask_approval(asked.clone(), ROOM).await.unwrap(), Asking::New);
    let racing: Vec<_> = (0..4)
        .flat_map(|nth| [nth, nth])
        .map(|nth| {
            let (store, id) = (open(place), asked.id.clone());
            tokio::spawn(async move { store.vote_approval(&id, vote(&format!("v{nth}"), true)).await })
        })
        .collect();
    let mut counted = Vec::new();
    for one in racing {
        counted.push(one.await.unwrap().unwrap());
    }
    let not = counted.iter().filter(|said| said.is_err()).count();
    assert_eq!((counted.len() - not, not), (4, 4), "each counts once");
    let found = open(place).approval(&asked.id).await.unwrap().unwrap();
    assert_eq!((found.standing, found.votes.len()), (Standing::Granted, 4));
    let nobody = open(place).vote_approval(&ApprovalId::new("a9"), vote("bob", true)).await.unwrap();
    assert_eq!(nobody, Err(NotCounted::NoSuch));
}

pub async fn a_change_of_arguments_is_an_approval_of_its_own(place: &dyn Place) {
    let store = open(place);
    let asked = approval("a1", 1);
    assert_eq!(store.ask_approval(asked.clone(), ROOM).await.unwrap(), Asking::New);
    let edited: Arc<str> = "{\"amount\":10}".into();
    let by = Approval { edited: Some(Arc::clone(&edited)), at: ms(1_500), ..approval("a2", 2) };
    let own = store.replace_approval(&asked.id, by.clone(), vote("ada", true)).await.unwrap();
    assert_eq!(own, Err(NotCounted::OwnCall));
    let new = store.replace_approval(&asked.id, by.clone(), vote("bob", true)).await.unwrap().unwrap();
    assert_eq!((new.standing, new.edited.as_ref()), (Standing::Granted, Some(&edited)));
    let old = store.approval(&asked.id).await.unwrap().unwrap();
    assert_eq!((old.standing, old.replaced_by.as_ref()), (Standing::Replaced, Some(&new.id)));
    assert_eq!(store.use_approval(&asked.of, "c", ms(1_600)).await.unwrap(), None);
    let again = Approval { id: ApprovalId::new("a3"), at: ms(1_600), ..asked };
    assert_eq!(store.ask_approval(again.clone(), ROOM).await.unwrap(), Asking::Known(Box::new(old)));
    assert!(store.use_approval(&new.of, "c", ms(1_700)).await.unwrap().is_some());
    let again = Approval { at: ms(1_800), ..again };
    assert_eq!(
        store.ask_approval(again, ROOM).await.unwrap(),
        Asking::New,
        "what stood in its place is used"
    );
    let late = store.replace_approval(&by.id, approval("a9", 9), vote("bob", true)).await.unwrap();
    assert!(late.is_err());
}

pub async fn approvals_that_ended_long_ago_go(place: &dyn Place) {
    let store = open(place);
    let (old, young) = (approval("old", 1), Approval { until: ms(10_001), ..approval("young", 2) });
    for asked in [&old, &young] {
        assert_eq!(store.ask_approval(asked.clone(), ROOM).await.unwrap(), Asking::New);
    }
    let later = old.until.after(APPROVALS_KEPT).as_ms() + 1;
    let last = Approval { at: ms(later), until: ms(later + 1), ..approval("last", 3) };
    assert_eq!(store.ask_approval(last, ROOM).await.unwrap(), Asking::New);
    assert_eq!(store.approval(&old.id).await.unwrap(), None);
    assert!(store.approval(&young.id).await.unwrap().is_some());
}
