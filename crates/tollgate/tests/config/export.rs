//! Who receives what is recorded, as configured.

use std::time::Duration;

use tollgate_ledger::Kind;
use tollgate_ledger::export::{Confirm, ExportSettings, FileSettings, Flavour, Format, TargetSettings};
use tollgate_telemetry::otlp::Protocol;

use super::{Bench, yaml};

fn bench(exports: &str) -> Bench {
    yaml(&format!("servers: {{ a: {{ url: 'http://127.0.0.1:9/' }} }}\nledger:\n  export:\n{exports}"))
}

fn one(export: &str) -> ExportSettings {
    let exports = bench(&format!("    - {export}\n")).file("ca.pem", CA).good("tollgate.yaml").exports;
    assert_eq!(exports.len(), 1);
    exports.into_iter().next().expect("an export")
}

fn bad(export: &str) -> String {
    bench(&format!("    - {export}\n")).bad("tollgate.yaml")
}

const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

#[test]
fn each_receiver_has_its_settings() {
    let file = one("{ name: archive, file: { path: out/audit.jsonl } }");
    let TargetSettings::File(FileSettings { path, rotate_bytes, keep_files }) = &file.target else {
        panic!("{file:?}")
    };
    assert!(path.is_absolute() && path.ends_with("out/audit.jsonl"), "{}", path.display());
    assert_eq!((*rotate_bytes, *keep_files), (FileSettings::ROTATE_BYTES, 0));
    assert_eq!((file.names, file.payloads, file.format, &file.kinds), (true, false, Format::Native, &None));

    let syslog = one(
        "{ name: siem, syslog: { address: 'siem.example.com:6514', facility: 16, hostname: gate, \
                      confirm: sent }, format: ocsf, names: false, payloads: true, kinds: [intent, refusal], tenants: \
                      [default], batch_wait_ms: 5, behind_bytes_max: 1048576 }",
    );
    let TargetSettings::Syslog(to) = &syslog.target else { panic!("{syslog:?}") };
    assert_eq!((&*to.host, to.port, to.tls, to.facility), ("siem.example.com", 6514, true, 16));
    assert_eq!((&*to.hostname, to.confirm, to.allow_private), ("gate", Confirm::Sent, false));
    assert_eq!((syslog.names, syslog.payloads, syslog.format), (false, true, Format::Ocsf));
    assert_eq!(syslog.kinds, Some(vec![Kind::Intent, Kind::Refusal]));
    assert_eq!(syslog.tenants.map(|tenants| tenants.len()), Some(1));
    assert_eq!((syslog.pace.batch_wait, syslog.pace.behind_bytes_max), (Duration::from_millis(5), 1_048_576));

    let splunk =
        one("{ name: splunk, splunk: { url: 'https://splunk.example.com:8088', token: t, index: main }, \
                      allow_private_addresses: true }");
    let TargetSettings::Webhook(to) = &splunk.target else { panic!("{splunk:?}") };
    assert_eq!(to.url.as_str(), "https://splunk.example.com:8088/services/collector/event");
    let Flavour::SplunkHec { token, index, .. } = &to.flavour else { panic!("{to:?}") };
    assert_eq!((token.expose(), index.as_deref(), to.allow_private), ("t", Some("main"), true));

    let hook = one(
        "{ name: hook, webhook: { url: 'https://h.example.com/in', headers: { X-Key: k }, gzip: true } }",
    );
    let TargetSettings::Webhook(to) = &hook.target else { panic!("{hook:?}") };
    assert_eq!((&*to.headers[0].0, to.headers[0].1.expose(), to.gzip), ("x-key", "k", true));

    let otlp = one("{ name: otlp, otlp: { endpoint: 'http://localhost:4318', protocol: http }, \
                    allow_private_addresses: true }");
    let TargetSettings::Otlp(to) = &otlp.target else { panic!("{otlp:?}") };
    assert_eq!((to.url.as_str(), to.protocol), ("http://localhost:4318/v1/logs", Protocol::Http));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (export, complaint) in [
        ("{ name: a }", "exactly one of"),
        ("{ name: a, file: { path: x }, webhook: { url: 'https://a.example/' } }", "exactly one of"),
        ("{ file: { path: x } }", "`name` is missing"),
        ("{ name: 'a/b', file: { path: x } }", "letters, digits"),
        ("{ name: a, file: {} }", "`path` is missing"),
        ("{ name: a, syslog: { address: siem } }", "no host with a port"),
        ("{ name: a, syslog: { address: 'siem:514', tls: false } }", "without TLS"),
        ("{ name: a, syslog: { address: 'siem:514', sd_id: 'x' } }", "structured data"),
        ("{ name: a, webhook: { url: 'http://siem.example/' } }", "read and change"),
        ("{ name: a, webhook: { url: 'https://10.0.0.1/' } }", "private addresses"),
        ("{ name: a, webhook: { url: 'https://u:p@siem.example/' } }", "user name or password"),
        ("{ name: a, splunk: { url: 'https://siem.example/' } }", "`token` is missing"),
        ("{ name: a, file: { path: x }, kinds: [calls] }", "no entries of the kind `calls`"),
        ("{ name: a, file: { path: x }, tenants: [acme] }", "no tenant `acme`"),
        ("{ name: a, file: { path: x }, retry_ms_min: 900000 }", "longer than"),
    ] {
        let said = bad(export);
        assert!(said.contains(complaint), "{export}: {said}");
    }
    let twice = bench("    - { name: a, file: { path: x } }\n    - { name: a, file: { path: y } }\n");
    assert!(twice.bad("tollgate.yaml").contains("another export has this name"));
}

#[test]
fn tokens_and_headers_are_never_shown() {
    for export in [
        "{ name: a, splunk: { url: nope, token: hunter2 } }",
        "{ name: a, webhook: { url: nope, headers: { Authorization: hunter2 } } }",
        "{ name: a, otlp: { endpoint: nope, headers: { Authorization: hunter2 } } }",
    ] {
        let said = bad(export);
        assert!(said.contains("nope") && !said.contains("hunter2"), "{said}");
    }
}
