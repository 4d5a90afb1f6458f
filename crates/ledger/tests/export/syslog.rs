//! A real syslog server that comes and goes, and a way to it that breaks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tollgate_ledger::export::{Confirm, ExportSettings, SyslogSettings, TargetSettings};
use tollgate_ledger::{Entry, Kind, Outcome};

use crate::rig::{Rig, assert_whole, beside, export, numbers};
use crate::rsyslog::{BrittleWay, Forgetful, Rsyslog};

fn to(server: &Rsyslog, port: u16, tls: bool) -> ExportSettings {
    let settings = SyslogSettings {
        host: "127.0.0.1".into(),
        port,
        tls,
        ca_pem: tls.then(|| server.ca_pem.clone()),
        allow_private: true,
        facility: SyslogSettings::FACILITY,
        hostname: "gate.example".into(),
        sd_id: SyslogSettings::SD_ID.into(),
        confirm: Confirm::Close,
        message_bytes_max: SyslogSettings::MESSAGE_BYTES_MAX,
    };
    export(TargetSettings::Syslog(settings))
}

#[tokio::test]
async fn messages_are_what_the_standard_says_over_tls_and_without() {
    for tls in [true, false] {
        let mut rig = Rig::new();
        let server = Rsyslog::start(tls);
        let mut settings = to(&server, server.address().port(), tls);
        settings.names = true;
        rig.exports.apply(&[settings]);
        rig.write(1);
        let denied = Entry {
            tenant: Some("acme".into()),
            user: Some("u1".into()),
            outcome: Some(Outcome::Denied),
            native_name: Some("say \"a]b\\c\" ü".into()),
            ..Entry::of(Kind::Outcome)
        };
        rig.scribe.write(denied, &beside("n u1", "alice"));
        rig.until(|line| line.seq == 2).await;
        let messages = server.written(2).await;
        assert_eq!(messages.len(), 2);
        let (refusal, denied) = (&messages[0], &messages[1]);
        // Log audit (13), warning (4).
        assert_eq!((&*refusal.priority, &*refusal.host, &*refusal.process), ("108", "gate.example", "w1"));
        assert_eq!((&*refusal.kind, &refusal.entry["seq"]), ("refusal", &1.into()));
        assert!(
            refusal.data.starts_with("[tollgate@32473 writer=\"w1\" seq=\"1\" tenant=\"acme\""),
            "{refusal:?}"
        );
        assert!(
            denied.data.contains(" user=\"alice\" ") && denied.data.contains(" outcome=\"denied\""),
            "{denied:?}"
        );
        assert!(denied.data.contains(r#" name="say \"a\]b\\c\" ü" "#), "{denied:?}");
        assert_eq!((&denied.entry["names"]["user"], &denied.entry["user"]), (&"alice".into(), &"u1".into()));
    }
}

#[tokio::test]
async fn a_server_that_is_restarted_and_killed_loses_nothing() {
    for tls in [true, false] {
        let mut rig = Rig::new();
        let mut server = Rsyslog::start(tls);
        let mut settings = to(&server, server.address().port(), tls);
        settings.pace.batch_entries_max = 7;
        rig.exports.apply(&[settings]);
        let mut written = 0;
        for signal in ["TERM", "KILL", "TERM", "KILL"] {
            for _ in 0..20 {
                rig.write(5);
                written += 5;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.stop(signal);
            rig.write(10);
            written += 10;
            rig.until(|line| line.away.is_some()).await;
            server.start_again();
        }
        let line = rig.until(|line| line.seq == written).await;
        let entries = server.written_entries(written).await;
        assert_whole(&entries, written);
        assert!(line.failures > 0 && line.redelivered > 0, "{line:?}");
    }
}

#[tokio::test]
async fn what_a_server_has_read_and_takes_with_it_comes_again() {
    for confirm in [Confirm::Close, Confirm::Sent] {
        let mut rig = Rig::new();
        let (way, taken) = Forgetful::start().await;
        let server = Rsyslog::start(false);
        let mut settings = to(&server, way.port(), false);
        let TargetSettings::Syslog(syslog) = &mut settings.target else { unreachable!() };
        syslog.confirm = confirm;
        rig.exports.apply(&[settings]);
        rig.write(5);
        rig.until(|line| line.seq == 5).await;
        // It has read everything, says so, and is gone with it, a moment later, when nothing is under way.
        taken.forget().await;
        rig.write(3);
        let line = rig.until(|line| line.seq == 8).await;
        let deadline = std::time::Instant::now() + crate::rig::SOON;
        while taken.entries().len() < 8 && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let entries = taken.entries();
        assert_eq!(numbers(&entries), [1, 2, 3, 4, 5, 6, 7, 8], "{confirm:?}");
        assert!(entries[..5].iter().all(|entry| entry["redelivered"] == true), "{confirm:?}: {entries:?}");
        assert!(line.redelivered >= 5, "{line:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_loses_nothing_and_marks_what_comes_again() {
    for tls in [true, false] {
        let mut rig = Rig::new();
        let server = Rsyslog::start(tls);
        let way = BrittleWay::to(server.address()).await;
        let mut settings = to(&server, way.address.port(), tls);
        settings.pace.batch_entries_max = 20;
        rig.exports.apply(&[settings]);
        let mut written = 0;
        for bytes in [1, 400, 900, 1700, 2500, 4000, 5000, 6000] {
            way.breaks_after.store(bytes, Ordering::SeqCst);
            rig.write(20);
            written += 20;
            rig.until(|line| line.seq == written).await;
        }
        let line = rig.until(|line| line.seq == written).await;
        let entries = server.written_entries(written).await;
        assert_whole(&entries, written);
        assert!(line.failures >= 4 && line.redelivered > 0, "{line:?}");
        // What is cut within one piece of TLS has not arrived at all.
        assert!(tls || entries.len() as u64 > written, "something came twice");
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_nothing() {
    let mut rig = Rig::new();
    let (server, other) = (Rsyslog::start(true), Rsyslog::start(true));
    rig.write(3);
    rig.exports.apply(&[to(&other, server.address().port(), true)]);
    let line = rig.until(|line| line.away.is_some()).await;
    assert_eq!(line.sent, 0);
    assert!(server.messages().is_empty());
    rig.exports.apply(&[to(&server, server.address().port(), true)]);
    rig.until(|line| line.seq == 3).await;
    let entries = server.written_entries(3).await;
    assert_eq!(numbers(&entries), [1, 2, 3]);
    assert!(entries.iter().all(|entry| entry["redelivered"].is_null()), "nothing had arrived");
}

#[tokio::test]
async fn of_what_is_too_long_payloads_are_left_out() {
    let mut rig = Rig::new();
    let server = Rsyslog::start(false);
    let mut settings = to(&server, server.address().port(), false);
    settings.payloads = true;
    let TargetSettings::Syslog(to) = &mut settings.target else { unreachable!() };
    to.message_bytes_max = 2000;
    rig.exports.apply(&[settings]);
    let text = "x".repeat(3000);
    for text in ["short", &text] {
        let payload = beside("p a", &format!("{{\"text\":\"{text}\"}}"));
        rig.scribe.write(Entry { tenant: Some("acme".into()), ..Entry::of(Kind::Intent) }, &payload);
    }
    rig.until(|line| line.seq == 2).await;
    let entries = server.written_entries(2).await;
    assert_eq!(entries[0]["payloads"]["arguments"]["text"], "short");
    assert_eq!(
        (&entries[1]["payloads"], &entries[1]["payloads_left_out"]),
        (&serde_json::Value::Null, &true.into())
    );
}
