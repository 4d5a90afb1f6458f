//! The benchmark itself, quickly and against the mock alone.

use std::process::Command;

#[test]
fn a_quick_run_prints_its_table() {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate-bench"))
        .args([
            "--quick",
            "--targets",
            "direct",
            "--row",
            "small-modern",
            "--row",
            "small-legacy",
            "--rate",
            "200",
        ])
        .output()
        .unwrap();
    let (text, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{notes}");
    assert_eq!(text.matches("| direct |").count(), 2, "{text}\n{notes}");
    assert!(text.starts_with("# Benchmark\n") && text.contains("| CPU |"), "{text}");
}

#[test]
fn a_missing_gateway_is_said_before_anything_starts() {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate-bench"))
        .args(["--targets", "tollgate", "--tollgate", "/no/such/file"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/file is no file"));
}
