//! The guard over a child process.

/// Runs a command under guard and returns its exit status.
pub fn run_guard(_command: &str, _args: &[String]) -> i32 {
    1
}
