//! The fake server as a stdio child. Its only argument is the folder that directs it.

fn main() -> std::process::ExitCode {
    tollgate_testkit::fake::stdio::run()
}
