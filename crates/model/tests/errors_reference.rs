//! `docs/reference/errors.md` is made from the table of codes.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::{env, fs};

use tollgate_model::{Code, Retry, Source};

const HEAD: &str = "\
# Errors

Made from the table in `crates/model/src/refusal.rs` by a test; do not edit. `cargo xtask gen` writes it anew.

A request that Tollgate does not carry out, or that no server answered, gets a JSON-RPC error with one member of
Tollgate's own in `error.data`:

```json
{
  \"jsonrpc\": \"2.0\",
  \"id\": 7,
  \"error\": {
    \"code\": -32603,
    \"message\": \"files: the server did not answer the request within 60000 ms\",
    \"data\": {
      \"dev.tollgate/refusal\": {
        \"code\": \"upstream_timeout\",
        \"stage\": \"dispatch\",
        \"source\": \"upstream\",
        \"retry\": \"unsafe\",
        \"server\": \"files\",
        \"requestId\": \"01k9zq3v7m4x8w2r5t6y0b1c2d\"
      }
    }
  }
}
```

| member | shape | what it says |
|---|---|---|
| `code` | string | what is wrong: one of the codes below. They are part of the interface and keep their meaning. |
| `stage` | string | the stage of the request's life that refused it: `transport`, `session`, `envelope`, `identity`, `resolve`, `policy`, `block`, `limits`, `approval`, `pins`, `guard`, `schema`, `route`, `ledger` or `dispatch` (see [REQUEST.md](../REQUEST.md)) |
| `source` | string | whose doing it is |
| `retry` | string | whether the same request may succeed later: as the table says, but `safe` in place of `unsafe` where nothing of it had left for a server yet, and `unsafe` where the answer was HTTP status 503, which proxies give too when they lose a server over a request |
| `server` | string, if one was chosen | the server's name in the configuration |
| `requestId` | string of 26 digits and lower-case letters | the id of the call: the ledger has the refusal under it, and the log a line that says more: at `debug` for what a client or policy did, at `warn` for what a server or the gateway did |

`message` is fit to be shown to whoever called. It never holds a secret or a server's own words; those are in
the log. Other members of `data` are what the specification demands for its own codes, such as `supported` and
`requested`.

An error that a *server* answered is not a refusal and has no such member: it reaches the client as the server sent
it, but for its id and for codes that mean something else in the client's era.

Where the answer is a part of an event stream that has begun already, or travels over stdio, there is no HTTP status
to choose. `modern` is revision 2026-07-28, `legacy` is 2025-11-25 and earlier.
";

const TAIL: &str = "
## Servers that are missing from a merged list

A list that is merged from several servers is answered although one of them is down, slow, or talks nonsense. The
result then says what is missing, in both eras:

```json
\"_meta\": {
  \"dev.tollgate/unavailable\": [
    { \"server\": \"search\", \"code\": \"upstream_unavailable\", \"reason\": \"the server cannot be reached\" }
  ]
}
```

`code` is one of the codes above, or `list_too_long` for a server with more pages or items than the gateway reads:
its first items are shown.
";

fn source(source: Source) -> &'static str {
    match source {
        Source::Client => "The client sent something that it should not have sent, or cancelled the request.",
        Source::Policy => "Policy forbids it.",
        Source::Limit => "A limit that the operator has set leaves no room for it.",
        Source::Guard => "A content guard found something that may not pass.",
        Source::Operator => "An operator has stopped it.",
        Source::Upstream => "The server behind the gateway failed.",
        Source::Gateway => "The gateway itself could not.",
    }
}

fn retry(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "The same request will be refused again.",
        Retry::Safe => "The same request may succeed later. It was not carried out.",
        Retry::Unsafe => "The same request may succeed later, but may already have had its effect.",
    }
}

fn pair<T: PartialEq + Display + Copy>(modern: T, legacy: T) -> String {
    if modern == legacy { modern.to_string() } else { format!("{modern} modern, {legacy} legacy") }
}

fn page() -> Result<String, std::fmt::Error> {
    let mut page = String::from(HEAD);
    page.push_str("\n## The codes\n\n| code | JSON-RPC | HTTP | source | retry | meaning |\n|---|---|---|---|---|---|\n");
    for code in Code::ALL {
        let row = code.row();
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} |",
            row.name,
            pair(row.rpc_modern, row.rpc_legacy),
            pair(row.http_modern, row.http_legacy),
            row.source.as_str(),
            row.retry.as_str(),
            row.meaning,
        )?;
    }
    page.push_str("\n| source | what it says |\n|---|---|\n");
    for each in [
        Source::Client,
        Source::Policy,
        Source::Limit,
        Source::Guard,
        Source::Operator,
        Source::Upstream,
        Source::Gateway,
    ] {
        writeln!(page, "| `{}` | {} |", each.as_str(), source(each))?;
    }
    page.push_str("\n| retry | what it says |\n|---|---|\n");
    for each in [Retry::Never, Retry::Safe, Retry::Unsafe] {
        writeln!(page, "| `{}` | {} |", each.as_str(), retry(each))?;
    }
    page.push_str(TAIL);
    Ok(page)
}

#[test]
fn the_generated_errors_reference_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/errors.md");
    let made = page().expect("a page");
    if env::var_os("TOLLGATE_REGENERATE").is_some() {
        fs::write(&file, &made).expect("the page can be written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == made, "docs/reference/errors.md is stale: write it anew with `cargo xtask gen`");
}
