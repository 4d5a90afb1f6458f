use crate::support::{run, stderr, stdout};

#[test]
fn the_demo_calls_every_tool_in_both_eras() {
    let output = run(&["demo", "--once"]);
    let told = stdout(&output);
    assert!(output.status.success(), "{told}\n{}", stderr(&output));
    assert_eq!(told.matches("Liftoff.").count(), 2, "{told}");
    assert_eq!(told.matches("156").count(), 2, "{told}");
    assert!(told.contains("2025-11-25") && told.contains("2026-07-28"), "{told}");
    assert!(told.contains("3 progress reports"), "{told}");
    assert!(!told.contains('\u{1b}'), "no colours into a pipe");
}
