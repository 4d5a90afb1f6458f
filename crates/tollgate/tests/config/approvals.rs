//! The section `approvals`.

use std::time::Duration;

use tollgate_approvals::{ApprovalSettings, Keeps, Sees};
use tollgate_egress::MailSecurity;
use tollgate_proxy::{TellBody, TellWay};

use crate::{Bench, yaml};

const SERVER: &str = "servers: { a: { url: 'http://127.0.0.1:9/' } }\n";

fn bench(text: &str) -> Bench {
    yaml(&format!("{SERVER}approvals: {{ {text} }}\n"))
}

#[test]
fn who_may_approve_and_how_long_is_waited_is_what_the_file_says() {
    let usual = yaml(SERVER).good("tollgate.yaml").proxy;
    assert_eq!((&*usual.approvals, usual.approval_tells.len()), (&ApprovalSettings::default(), 0));
    let text = "groups: { finance: { users: [ada], groups: [idp], roles: [security], approvers_min: 2 } }, approvers_min: 3, \
        expiry_ms: 2000, grant_ms: 3000, wait_ms: 0, held_max: 5, waiting_per_principal_max: 6, waiting_per_tenant_max: 7, \
        arguments: whole, url: 'https://console.example/a/{id}'";
    let found = bench(text).good("tollgate.yaml").proxy.approvals;
    let needs: Vec<_> =
        found.needs(&["finance".into(), "other".into()]).iter().map(|need| need.people).collect();
    assert_eq!(needs, [2, 3]);
    let finance = &found.groups["finance"];
    assert_eq!((&*finance.users[0], &*finance.groups[0], &*finance.roles[0]), ("ada", "idp", "security"));
    assert_eq!(
        (found.expiry, found.grant, found.wait),
        (Duration::from_secs(2), Duration::from_secs(3), Duration::ZERO)
    );
    assert_eq!((found.held_max, found.room().principal_max, found.room().tenant_max), (5, 6, 7));
    assert_eq!(
        (found.arguments, found.url_of("x").as_deref()),
        (Keeps::Whole, Some("https://console.example/a/x"))
    );
}

#[test]
fn whoever_is_told_gets_no_more_than_the_file_says() {
    let text = "webhooks: [{ url: 'https://ops.example/in', secret: 0123456789abcdef, body: slack }, \
        { url: 'https://ops.example/in', secret: 0123456789abcdef, arguments: false }], \
        smtp: { host: mail.example, user: gate, password: secret, from: 'Gate <gate@example.com>', to: [ops@example.com] }";
    let tells = bench(text).good("tollgate.yaml").proxy.approval_tells;
    let [slack, generic, mail] = &tells[..] else { panic!("{tells:?}") };
    assert!(matches!(slack.way, TellWay::Webhook(_, TellBody::Slack)) && slack.sees == Sees::Redacted);
    assert!(matches!(generic.way, TellWay::Webhook(_, TellBody::Generic)) && generic.sees == Sees::Digest);
    let TellWay::Mail(relay) = &mail.way else { panic!("{mail:?}") };
    assert_eq!((relay.port, relay.security, mail.sees), (465, MailSecurity::Tls, Sees::Digest));
    assert!(!format!("{tells:?}").contains("0123456789abcdef"), "a secret does not show");
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let mail = |more: &str| format!("smtp: {{ host: m, from: 'a@b.example', to: ['c@d.example'], {more} }}");
    for (text, says) in [
        ("destructive: [ops]".to_owned(), "without `policy`"),
        ("url: 'https://console.example/a'".to_owned(), "{id}"),
        ("url: 'http://console.example/{id}'".to_owned(), "https"),
        ("url: 'javascript:alert({id})'".to_owned(), "https"),
        ("webhooks: [{ url: 'https://ops.example/in', secret: short }]".to_owned(), "less than 16 bytes"),
        (
            "webhooks: [{ url: 'https://ops.example/in', secret: 0123456789abcdef, tenant: nobody }]"
                .to_owned(),
            "no such tenant",
        ),
        ("smtp: { host: m, from: 'a@b.example' }".to_owned(), "nobody gets"),
        ("smtp: { host: m, from: nobody, to: ['c@d.example'] }".to_owned(), "no mail address"),
        (mail("security: none, user: u, password: p"), "unprotected"),
        (mail("user: u"), "belong together"),
        (mail("security: sometimes"), "security"),
    ] {
        let problems = bench(&text).bad("tollgate.yaml");
        assert!(problems.contains(says), "{text}: {problems}");
    }
}
