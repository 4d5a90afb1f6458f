//! What is written, by many at once.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use proptest::prelude::*;
use tollgate_ledger::{
    Committed, Content, Draft, Durability, Entry, Health, Kind, Ledger, LedgerSettings, Line, NameKind,
    Outcome, Reader, Vault, commitment,
};
use tollgate_model::{KeyId, Principal, PrincipalId, Proof, RecordLevel, SessionId, TenantId};

use crate::record::{Record, ended, good, intend, open, read, try_intend};

fn ann() -> Principal {
    Principal {
        agent: Some("desk".into()),
        user: Some("ann".into()),
        ..Principal::new(TenantId::new("acme"), PrincipalId::local(), Proof::Key(KeyId::new("k1")))
    }
}

fn settings(durability: Durability) -> LedgerSettings {
    LedgerSettings { durability, segment_bytes_max: 64 * 1024, ..LedgerSettings::default() }
}

/// What one of many callers does with its call.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Closes,
    ClosesLater,
    Drops,
    GivesUp,
    Notes,
    NotesLater,
}

async fn take(ledger: &Ledger, who: &Principal, turn: Turn) {
    match turn {
        Turn::Closes => intend(ledger, who).await.close(ended(who)).await.expect("on record"),
        Turn::ClosesLater => intend(ledger, who).await.close_later(ended(who)),
        Turn::Drops => drop(intend(ledger, who).await),
        Turn::GivesUp => {
            // As whoever is asked once, and gone before the answer.
            let mut intent = Box::pin(try_intend(ledger, who));
            std::future::poll_fn(|context| {
                let _ = intent.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
        }
        Turn::Notes => ledger.note(Draft::of(Entry::of(Kind::Refusal))).await.expect("on record"),
        Turn::NotesLater => ledger.note_later(Draft::of(Entry::of(Kind::Refusal))),
    }
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => Just(Turn::Closes),
        2 => Just(Turn::ClosesLater),
        2 => Just(Turn::Drops),
        1 => Just(Turn::GivesUp),
        2 => Just(Turn::Notes),
        1 => Just(Turn::NotesLater),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_intent_has_one_outcome_whoever_writes(
        callers in prop::collection::vec(prop::collection::vec(turn(), 1..60), 1..24),
        is_power in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let durability = if is_power { Durability::Power } else { Durability::Process };
        let ledger = open(folder.path(), settings(durability));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
        let counted = |of: &[Turn]| callers.iter().flatten().filter(|turn| {
            of.iter().any(|of| std::mem::discriminant(of) == std::mem::discriminant(*turn))
        }).count();
        runtime.expect("a runtime").block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for turns in callers.clone() {
                let ledger = ledger.clone();
                tasks.spawn(async move {
                    let who = ann();
                    for turn in turns {
                        take(&ledger, &who, turn).await;
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended.expect("it ended");
            }
            ledger.close().await;
        });
        let record = Record::of(folder.path());
        prop_assert!(record.is_closed());
        prop_assert_eq!(record.count(Outcome::Ok), counted(&[Turn::Closes, Turn::ClosesLater]));
        let dropped = record.count(Outcome::ClientGone) + record.count(Outcome::Refused);
        prop_assert!(dropped >= counted(&[Turn::Drops]), "{record:?}");
        prop_assert!(dropped <= counted(&[Turn::Drops, Turn::GivesUp]));
        let refusals = record.kinds.iter().filter(|kind| **kind == Kind::Refusal).count();
        prop_assert_eq!(refusals, counted(&[Turn::Notes, Turn::NotesLater]));
        prop_assert_eq!(record.kinds.iter().filter(|kind| **kind == Kind::Gap).count(), 0);
        let signed = good(folder.path()).writers[0].signed.expect("a checkpoint").seq;
        prop_assert_eq!(signed, record.kinds.len() as u64 - 1, "the end is signed");
    }
}

#[tokio::test]
async fn an_entry_names_by_reference_and_commits_to_what_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let (who, session) = (ann(), SessionId::new("s1"));
    let receipt = intend(&ledger, &who).await;
    receipt.close(Draft { session: Some(&session), ..ended(&who) }).await.expect("on record");
    ledger.close().await;

    let all = read(ledger.folder().expect("a folder"));
    let vault = Vault::of_ledger(folder.path(), None).expect("a key");
    let intent =
        all.iter().find(|read| read.entry().expect("an entry").kind == Kind::Intent).expect("it is there");
    let entry = intent.entry().expect("an entry");
    let text = String::from_utf8_lossy(&intent.json);
    assert!(!text.contains("ann") && !text.contains("desk") && !text.contains("/tmp"), "{text}");
    assert_eq!(entry.tenant.as_deref(), Some("acme"));
    assert_eq!(entry.user.as_deref(), Some(&*vault.reference("acme", NameKind::User, "ann")));
    assert_eq!(entry.agent.as_deref(), Some(&*vault.reference("acme", NameKind::Agent, "desk")));
    let Committed { digest, commitment: committed, level, bytes, .. } = entry.arguments.expect("arguments");
    assert_eq!((&*level, bytes), ("full", 15));
    assert_eq!(digest.as_deref(), Some(&*vault.digest("acme", b"{\"path\":\"/tmp\"}")));
    let mut names = Vec::new();
    for line in intent.beside() {
        match line {
            Line::Payload { is_result, sealed } => {
                let payload = vault.open_payload("acme", is_result, sealed).expect("it opens");
                assert_eq!(payload.bytes, b"{\"path\":\"/tmp\"}");
                assert_eq!(committed.as_deref(), Some(&*commitment(&payload.salt, &payload.bytes).to_text()));
            }
            Line::Name { reference, sealed } => {
                let reference = std::str::from_utf8(reference).expect("text");
                names.push(vault.open_name("acme", reference, sealed).expect("it opens").text);
            }
            Line::Entry { .. } => panic!("no line beside an entry"),
        }
    }
    assert_eq!(names[1..], ["desk", "ann"]);
    assert_eq!(names[0]["proof"]["key"], "k1");
    let outcome =
        all.iter().find(|read| read.entry().expect("an entry").kind == Kind::Outcome).expect("it is there");
    let named: Vec<_> = outcome.beside().collect();
    assert!(matches!(named[..], [Line::Name { .. }]), "only the session is new: {named:?}");
}

#[tokio::test]
async fn no_token_stands_in_what_a_client_calls_itself_or_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let (who, token) = (ann(), format!("ghp_{}", "a1".repeat(18)));
    let entry = Entry {
        method: Some(format!("{token}/call").into()),
        client: Some(format!("desk {token} ann@example.com 1.0").into()),
        ..Entry::of(Kind::Refusal)
    };
    ledger.note(Draft { who: Some(&who), ..Draft::of(entry) }).await.expect("on record");
    let own = ledger.folder().expect("a folder").to_owned();
    ledger.close().await;
    let all = read(&own);
    let entries = all.iter().map(|read| read.entry().expect("an entry"));
    let refusal = entries.into_iter().find(|entry| entry.kind == Kind::Refusal).expect("it is there");
    let (method, client) = (refusal.method.expect("a method"), refusal.client.expect("a client"));
    assert!(method.starts_with("[redacted:token]") && !method.contains(&*token), "{method}");
    assert_eq!(client, "desk [redacted:token] [redacted:email] 1.0");
}

#[tokio::test]
async fn each_segment_names_for_itself_and_is_signed_at_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), settings(Durability::Process));
    let who = ann();
    let waiting = intend(&ledger, &who).await;
    while Reader::new(ledger.folder().expect("a folder")).segments().expect("readable").len() < 3 {
        intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    }
    intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    drop(waiting);
    ledger.close().await;
    let record = Record::of(folder.path());
    assert!(record.is_closed());
    let all = read(ledger.folder().expect("a folder"));
    let mut segments: Vec<u64> = all.iter().map(|read| read.segment).collect();
    segments.dedup();
    for segment in &segments {
        let own: Vec<_> = all.iter().filter(|read| read.segment == *segment).collect();
        assert_eq!(own[0].entry().expect("an entry").kind, Kind::Segment);
        assert_eq!(own.last().expect("an end").entry().expect("an entry").kind, Kind::Checkpoint);
        let names =
            own.iter().flat_map(|read| read.beside()).filter(|line| matches!(line, Line::Name { .. }));
        assert_eq!(names.count(), 3, "who, agent and user, once");
    }
}

#[tokio::test]
async fn as_many_calls_are_open_as_may_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings { open_max: 2, ..LedgerSettings::default() });
    let who = ann();
    let (one, two) = (intend(&ledger, &who).await, intend(&ledger, &who).await);
    let failure = try_intend(&ledger, &who).await.expect_err("too many");
    assert!(failure.reason.contains("as many calls"), "{failure}");
    one.close(ended(&who)).await.expect("on record");
    let three = intend(&ledger, &who).await;
    assert_eq!((ledger.work().open, ledger.health()), (2, Health::Up));
    drop((two, three));
    ledger.close().await;
    assert!(Record::of(folder.path()).is_closed());
}

#[tokio::test]
async fn what_is_open_at_the_end_is_stopped_and_nothing_is_written_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let who = ann();
    let receipt = intend(&ledger, &who).await;
    ledger.close().await;
    assert!(receipt.close(ended(&who)).await.is_err());
    assert!(try_intend(&ledger, &who).await.is_err());
    let record = Record::of(folder.path());
    assert_eq!((record.count(Outcome::Stopped), record.is_closed()), (1, true));
    assert_eq!(record.kinds[record.kinds.len() - 2..], [Kind::Stopped, Kind::Checkpoint]);
}

#[tokio::test]
async fn what_is_written_is_told_and_signed_soon() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let mut position = ledger.position().expect("a position");
    let who = ann();
    let receipt = intend(&ledger, &who).await;
    let soon = Duration::from_secs(20);
    let is_signed = || good(folder.path()).writers[0].unsigned == 0;
    tokio::time::timeout(soon, async {
        while !is_signed() {
            position.changed().await.expect("it is there");
        }
    })
    .await
    .expect("a checkpoint");
    drop(receipt);
    ledger.close().await;
}

#[tokio::test]
async fn several_processes_share_a_folder_each_with_its_own_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (
        open(folder.path(), settings(Durability::Process)),
        open(folder.path(), settings(Durability::Power)),
    );
    assert_ne!(one.folder(), two.folder());
    let who = ann();
    for ledger in [&one, &two, &one] {
        intend(ledger, &who).await.close(ended(&who)).await.expect("on record");
    }
    one.close().await;
    let first = one.folder().expect("a folder").to_owned();
    let again = open(folder.path(), settings(Durability::Process));
    assert_eq!(again.folder(), Some(&*first), "a folder that nobody has is gone on with");
    intend(&again, &who).await.close(ended(&who)).await.expect("on record");
    for ledger in [&two, &again] {
        ledger.close().await;
    }
    let record = Record::of(folder.path());
    assert_eq!((record.intents.len(), record.is_closed()), (4, true));
    assert_eq!(record.kinds.iter().filter(|kind| **kind == Kind::Started).count(), 3);
}

#[tokio::test]
async fn another_key_begins_another_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    ledger.close().await;
    std::fs::remove_file(folder.path().join("signing.key")).expect("removed");
    let again = open(folder.path(), LedgerSettings::default());
    assert_ne!(again.public_key(), ledger.public_key());
    again.close().await;
    assert_eq!(good(folder.path()).writers[0].segments, 2);
}

#[tokio::test]
async fn as_much_is_kept_as_the_level_says() {
    let secret = b"{\"user\":\"x\",\"password\":\"hunter2\"}";
    for (level, kept, is_digested) in [
        (RecordLevel::Nothing, None, false),
        (RecordLevel::Digest, None, true),
        (RecordLevel::Redacted, Some("redacted"), true),
        (RecordLevel::Full, Some("hunter2"), true),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger =
            open(folder.path(), LedgerSettings { payload_bytes_max: 100, ..LedgerSettings::default() });
        for bytes in [Bytes::from_static(secret), Bytes::from(vec![b'1'; 101])] {
            let arguments = Some(Content { bytes, level });
            ledger.note(Draft { arguments, ..Draft::of(Entry::of(Kind::Refusal)) }).await.expect("on record");
        }
        ledger.close().await;
        let all = read(ledger.folder().expect("a folder"));
        let of: Vec<_> =
            all.iter().filter(|read| read.entry().expect("an entry").kind == Kind::Refusal).collect();
        let small = of[0].entry().expect("an entry").arguments.expect("arguments");
        assert_eq!((small.bytes, small.digest.is_some()), (secret.len() as u64, is_digested), "{level:?}");
        assert_eq!(
            (small.commitment.is_some(), of[0].beside().count()),
            (kept.is_some(), usize::from(kept.is_some()))
        );
        assert_eq!(
            small.redacted.iter().any(|pointer| pointer == "/password"),
            level == RecordLevel::Redacted
        );
        if let (Some(expected), Some(Line::Payload { sealed, .. })) = (kept, of[0].beside().next()) {
            let payload = ledger.vault().expect("a vault").open_payload("", false, sealed).expect("it opens");
            let text = String::from_utf8(payload.bytes).expect("text");
            assert_eq!(text.contains("hunter2"), expected == "hunter2", "{text}");
        }
        let large = of[1].entry().expect("an entry").arguments.expect("arguments");
        assert_eq!((large.truncated.is_some(), of[1].beside().count()), (kept.is_some(), 0), "{level:?}");
    }
}

#[tokio::test]
async fn what_a_uri_carries_is_not_on_record_in_the_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let uris = [
        "https://x.example/a?key=hunter2",
        "https://x.example/a?key=hunter2",
        "https://x.example/a?key=other",
    ];
    for uri in uris {
        let entry = Entry {
            public_name: Some(uri.into()),
            native_name: Some(uri.into()),
            ..Entry::of(Kind::Refusal)
        };
        ledger.note(Draft::of(entry)).await.expect("on record");
    }
    ledger.close().await;
    let all = read(ledger.folder().expect("a folder"));
    let entries: Vec<_> = all.iter().map(|read| read.entry().expect("an entry")).collect();
    let names: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Refusal)
        .map(|entry| (entry.public_name.as_deref().expect("a name"), entry.native_name.as_deref()))
        .collect();
    for (public, native) in &names {
        assert!(public.starts_with("https://x.example/a?key=~") && *native == Some(*public), "{public}");
        assert!(tollgate_ledger::is_altered(public));
    }
    assert_eq!(names[0], names[1], "equal ones are found");
    assert_ne!(names[0], names[2]);
}

#[tokio::test]
async fn texts_of_others_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let long = "ü".repeat(4_000_000);
    let text = || Some(long.as_str().into());
    let entry = Entry {
        method: text(),
        public_name: text(),
        native_name: text(),
        client: text(),
        code: text(),
        ..Entry::of(Kind::Refusal)
    };
    ledger.note(Draft::of(entry)).await.expect("on record");
    ledger.close().await;
    let all = read(ledger.folder().expect("a folder"));
    let entry = all.iter().find(|read| read.entry().expect("an entry").kind == Kind::Refusal);
    let entry = entry.expect("it is there");
    assert!(entry.json.len() < 16 * 1024, "{}", entry.json.len());
    let method = entry.entry().expect("an entry").method.expect("a method").into_owned();
    let (kept, digest) = method.split_once("…sha256:").expect("what was cut has a digest");
    assert!(kept.len() > 1024 && kept.chars().all(|char| char == 'ü'), "{kept}");
    let whole = ring::digest::digest(&ring::digest::SHA256, long.as_bytes());
    assert_eq!(digest, BASE64.encode(&whole.as_ref()[..16]));
}
