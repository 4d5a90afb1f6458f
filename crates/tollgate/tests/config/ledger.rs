//! How the ledger is kept, as configured.

use std::time::Duration;

use tollgate_ledger::{Durability, IndexSettings, LedgerSettings, WhenUnwritable};
use tollgate_model::{EndpointName, Holder, RecordLevel, ServerId, TenantId};

use super::{Bench, yaml};

fn bench(text: &str) -> Bench {
    yaml(&format!("servers: {{ a: {{ url: 'http://127.0.0.1:9/' }} }}\n{text}"))
}

#[test]
fn everything_is_recorded_unless_the_file_says_otherwise() {
    assert_eq!(bench("").good("tollgate.yaml").ledger, Some(LedgerSettings::default()));
    assert_eq!(bench("ledger: {}\n").good("tollgate.yaml").ledger, Some(LedgerSettings::default()));
    assert_eq!(bench("ledger: { enabled: false }\n").good("tollgate.yaml").ledger, None);
}

#[test]
fn every_key_has_its_meaning() {
    let text = "ledger: { durability: power, record: { arguments: full, results: nothing }, payload_bytes_max: 100, \
                open_max: 7, segment_bytes_max: 65536, segment_age_ms_max: 60000, signing_key: one, encryption_key: two }\n";
    let ledger = bench(text).good("tollgate.yaml").ledger.expect("a ledger");
    assert_eq!(ledger.durability, Durability::Power);
    let recording = ledger.recording;
    assert_eq!((recording.arguments, recording.results), (RecordLevel::Full, RecordLevel::Nothing));
    assert_eq!((ledger.payload_bytes_max, ledger.open_max, ledger.segment_bytes_max), (100, 7, 65_536));
    assert_eq!(ledger.segment_age_max, Duration::from_mins(1));
    let keys = [ledger.signing_key, ledger.encryption_key].map(|key| key.expect("a key").expose().to_owned());
    assert_eq!(keys, ["one", "two"]);
}

#[test]
fn keys_come_from_the_file_before_the_environment() {
    let keys = |bench: Bench| {
        let ledger = bench.good("tollgate.yaml").ledger.expect("a ledger");
        [ledger.signing_key, ledger.encryption_key].map(|key| key.map(|key| key.expose().to_owned()))
    };
    let own = |key: &str| Some(key.to_owned());
    assert_eq!(keys(bench("")), [None, None]);
    let of_environment = || {
        let bench = bench("").var("TOLLGATE_LEDGER_SIGNING_KEY", "signs").file("payload.key", "seals\n");
        bench.var("TOLLGATE_LEDGER_KEY_FILE", "payload.key")
    };
    assert_eq!(keys(of_environment()), [own("signs"), own("seals")]);
    let both = bench("ledger: { signing_key: { file: k } }\n").file("k", "file\n");
    assert_eq!(keys(both.var("TOLLGATE_LEDGER_SIGNING_KEY", "environment")), [own("file"), None]);
    let missing = bench("").var("TOLLGATE_LEDGER_KEY_FILE", "nowhere").bad("tollgate.yaml");
    assert!(missing.contains("TOLLGATE_LEDGER_KEY_FILE") && missing.contains("nowhere"), "{missing}");
}

#[test]
fn what_becomes_of_unrecorded_calls_is_said_for_all_for_servers_and_for_toolsets() {
    let config = yaml(
        "ledger: { when_unwritable: degrade }\n\
         servers: { a: { url: 'http://127.0.0.1:9/', when_unwritable: refuse }, b: { url: 'http://127.0.0.1:9/' } }\n\
         toolsets: { desk: { tools: [{ server: b, tool: x }], when_unwritable: refuse } }\n\
         tenants: { acme: { servers: { a: { url: 'http://127.0.0.1:9/' } } } }\n",
    )
    .good("tollgate.yaml");
    let name = |text: &str| EndpointName::new(text).expect("a name");
    let (own, acme) = (TenantId::default(), TenantId::new("acme"));
    let of = |tenant: &TenantId, endpoint: Option<&str>, server| {
        let server = ServerId::new(Holder::Tenant(tenant.clone()), name(server));
        config.proxy.unwritable.of(tenant, endpoint.map(name).as_ref(), Some(&server))
    };
    assert_eq!(of(&own, None, "a"), WhenUnwritable::Refuse);
    assert_eq!(of(&own, None, "b"), WhenUnwritable::Degrade);
    assert_eq!(of(&own, Some("desk"), "b"), WhenUnwritable::Refuse);
    assert_eq!(of(&acme, None, "a"), WhenUnwritable::Degrade);
}

#[test]
fn a_key_is_never_shown() {
    let text = bench("ledger:\n  open_max: no\n  signing_key: hunter2\n  encryption_key: hunter3\n");
    let error = text.load("tollgate.yaml").expect_err("it is wrong");
    assert!(!error.render(false).contains("hunter"), "{}", error.render(false));
}

#[test]
fn the_index_and_prices_have_their_meaning() {
    let index = bench("").good("tollgate.yaml").index.expect("an index");
    assert_eq!(index, IndexSettings::default());
    let text = "ledger: { index: { age_max_days: 30 } }\n\
                usage:\n  currency: EUR\n  age_max_days: 400\n  prices:\n    - { server: a, tool: b, per_call: 0.001, per_million_result_tokens: 2 }\n    \
                - { tenant: acme, per_mib: 0.25, per_million_argument_tokens: 1.5 }\n";
    let index = bench(text).good("tollgate.yaml").index.expect("an index");
    let days = |days: u64| Duration::from_hours(24 * days);
    assert_eq!((index.age_max, index.usage_age_max), (days(30), days(400)));
    assert_eq!(index.prices.currency, "EUR");
    let [first, second] = &*index.prices.prices else { panic!("two prices") };
    assert_eq!((first.per_call_nano, first.per_million_result_tokens_nano), (1_000_000, 2_000_000_000));
    assert_eq!((first.server.as_deref(), first.tool.as_deref()), (Some("a"), Some("b")));
    assert_eq!((second.per_mib_nano, second.per_million_argument_tokens_nano), (250_000_000, 1_500_000_000));
    assert_eq!(second.tenant.as_deref(), Some("acme"));

    for off in ["ledger: { enabled: false }\n", "ledger: { index: { enabled: false } }\n"] {
        assert_eq!(bench(off).good("tollgate.yaml").index, None, "{off}");
    }
}
