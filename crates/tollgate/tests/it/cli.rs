use crate::support::{Folder, Gateway, notes_config, run, stderr, stdout};

#[test]
fn help_says_what_there_is_and_what_exit_codes_mean() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = stdout(&output);
    for word in ["serve", "connect", "check", "tools", "demo", "completions", "Exit codes", "78", "Examples"]
    {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    assert!(!help.contains("child-guard") && !help.contains("demo-server"));
    assert!(stdout(&run(&["--version"])).starts_with("tollgate "));
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for args in [&["nonsense"][..], &["serve"], &["tools", "list"], &["--log", "a=b=c", "check", "x"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
    }
    let output = run(&["tools", "call", "http://127.0.0.1:9/mcp", "x", "--args", "[1]"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("JSON object"), "{}", stderr(&output));
}

#[test]
fn an_endpoint_that_is_not_there_exits_with_69() {
    // Nothing listens on a port that was bound and left again.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let output = run(&["tools", "list", &format!("http://{free}/mcp")]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains(&free.to_string()));
}

#[test]
fn an_endpoint_that_is_not_served_is_told_in_the_words_of_the_gateway() {
    let folder = Folder::new();
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &notes_config("notes")));
    let output = run(&["tools", "list", &format!("http://{}/mcp/nobody", gateway.listen)]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("no server or toolset of this name"), "{}", stderr(&output));
}

#[test]
fn a_port_that_is_taken_is_told_with_the_key_that_chooses_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("an address");
    let folder = Folder::new();
    let file = folder.write("tollgate.yaml", &notes_config("notes"));
    for (listen, admin_listen, key) in
        [(&*taken.1, "127.0.0.1:0", "`listen`"), ("127.0.0.1:0", &*taken.1, "`admin_listen`")]
    {
        let output = run(&["serve", "--config", &file, "--listen", listen, "--admin-listen", admin_listen]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(&taken.1) && said.contains(key), "{said}");
    }
}

#[test]
fn check_says_what_would_be_served() {
    let folder = Folder::new();
    let file = folder.write("tollgate.yaml", &notes_config("notes"));
    let output = run(&["check", &file]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("notes"), "{}", stdout(&output));
    let output = run(&["check", &file, "--json"]);
    let object: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(object["ok"], true);
    assert_eq!(object["servers"][0]["server"], "notes");
    assert_eq!(object["servers"][0]["transport"], "stdio");
}

#[test]
fn check_tells_everything_that_is_wrong_and_exits_with_78() {
    let folder = Folder::new();
    let file = folder.write("tollgate.yaml", "servers:\n  a:\n    comand: x\n  b:\n    url: ftp://x\n");
    let output = run(&["check", &file]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(text.contains("comand") && text.contains(":3:") && text.contains(":5:"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
    let output = run(&["check", &file, "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let object: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(object["ok"], false);
    assert!(object["problems"].as_array().is_some_and(|problems| problems.len() >= 2));
}

#[test]
fn a_client_is_told_where_the_gateway_is_and_where_its_key_is() {
    let folder = Folder::new();
    let file = folder.write("tollgate.yaml", &notes_config("notes"));
    let print = |more: &[&str]| run(&[&["client-config", "--config", &file], more].concat());
    let output = print(&["--for", "cursor", "--endpoint", "notes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let config: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let url = config["mcpServers"]["tollgate"]["url"].as_str().expect("a URL");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/mcp/notes"), "{url}");
    assert!(config["mcpServers"]["tollgate"]["headers"].is_null(), "nobody has to be known here");

    let output = print(&["--for", "cursor", "--endpoint", "notse"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("notes"), "{}", stderr(&output));

    let with_identity =
        format!("{}identity: {{}}\npublic_url: https://mcp.example.com\n", notes_config("notes"));
    let file = folder.write("known.yaml", &with_identity);
    let output = run(&["client-config", "--config", &file, "--for", "claude-code"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let config: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let server = &config["mcpServers"]["tollgate"];
    assert_eq!(server["url"], "https://mcp.example.com/mcp");
    assert_eq!(server["headers"]["Authorization"], "Bearer ${TOLLGATE_KEY}");
    assert!(stderr(&output).contains("TOLLGATE_KEY"), "{}", stderr(&output));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(stdout(&output).contains("tollgate"), "{shell}");
    }
}

#[test]
fn the_reference_page_is_current() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    let made = tollgate::cli::reference_md();
    if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
        std::fs::write(page, &made).expect("written");
    }
    let kept = std::fs::read_to_string(page).unwrap_or_default();
    assert!(kept == made, "docs/reference/cli.md is stale: run the tests once with TOLLGATE_REGENERATE=1");
}
