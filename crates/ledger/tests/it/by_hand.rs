//! The commands that the documentation gives to whoever verifies without Tollgate.

use std::fs;
use std::path::Path;
use std::process::Command;

use tollgate_ledger::upkeep::{Erasing, Whose, erase};
use tollgate_ledger::{LedgerSettings, PUBLIC_FILE, Reader};
use tollgate_model::{Principal, PrincipalId, Proof, TenantId};

use crate::record::{ended, intend, open};

/// The commands under the title "By hand", block by block.
fn commands() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ledger.md");
    let page = fs::read_to_string(page).expect("the page");
    let part =
        page.split("### By hand").nth(1).and_then(|part| part.split("\n## ").next()).expect("the part");
    let blocks = part.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    blocks.map(str::to_owned).collect()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn run(folder: &Path, script: &str) -> String {
    let output = Command::new("bash").args(["-ec", script]).current_dir(folder).output().expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_find_what_verification_finds() {
    if !["bash", "jq", "openssl"].into_iter().all(is_there) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path(), LedgerSettings::default());
    let who = Principal {
        user: Some("ada".into()),
        ..Principal::new(TenantId::new("acme"), PrincipalId::local(), Proof::Anonymous)
    };
    for _ in 0..3 {
        intend(&ledger, &who).await.close(ended(&who)).await.expect("on record");
    }
    let writer = ledger.folder().expect("it is on").to_owned();
    // The writer goes on with its own.
    let copy = tempfile::tempdir().expect("a folder");
    let segments = copy.path().to_owned();
    let written = Reader::new(&writer).path(1);
    let path = segments.join(written.file_name().expect("a name"));
    let whose = Whose::User { user: "ada".to_owned(), tenant: None };
    for is_erased in [false, true] {
        if is_erased {
            let erasing = Erasing { whose: whose.clone(), before_ms: None, request: None };
            assert!(erase(&ledger, &erasing).await.expect("erased") > 0);
            ledger.close().await;
        }
        fs::copy(&written, &path).expect("copied");
        fs::copy(folder.path().join(PUBLIC_FILE), segments.join(PUBLIC_FILE)).expect("copied");
        let [hashes, beside, signature] = &commands()[..] else { panic!("three blocks") };
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(run(&segments, hashes), "", "nothing is bad");
        let with_side =
            text.lines().filter(|line| line.starts_with("e ")).filter_map(|line| line.split(' ').nth(2));
        let first = with_side.into_iter().find(|side| *side != "-").expect("one with something beside it");
        assert_eq!(run(&segments, &format!("{hashes}\n{beside}")), first, "erased: {is_erased}");
        if is_erased {
            assert!(run(&segments, &format!("{hashes}\n{signature}")).contains("Verified Successfully"));
        }
        fs::write(&path, text.replacen("\"kind\":\"intent\"", "\"kind\":\"list\"", 1)).expect("written");
        assert!(run(&segments, hashes).contains("bad: "));
        fs::write(&path, text).expect("written");
    }
}
