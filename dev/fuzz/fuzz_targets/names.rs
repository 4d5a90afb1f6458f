//! Public names: legal, short, told apart, and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_catalog::names::{PUBLIC_NAME_BYTES_MAX, PublicName, public_name};
use tollgate_model::ServerName;

fuzz_target!(|texts: (&str, &str, &str)| {
    let (server, one, other) = texts;
    let _ = PublicName::read(one);
    let Ok(server) = ServerName::new(server) else { return };
    let public = public_name(&server, one);
    assert!(public.len() <= PUBLIC_NAME_BYTES_MAX);
    assert!(public.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)));
    assert_eq!(public == public_name(&server, other), one == other);
    match PublicName::read(&public) {
        PublicName::Plain(found, native) => assert_eq!((found, native), (server.as_str(), one)),
        PublicName::Cut(found) => assert_eq!(found, server.as_str()),
        PublicName::Native(_) => panic!("a public name without a server"),
    }
});
