//! The guard on its own, for this crate's tests. In the product it is a hidden subcommand of the one binary.

fn main() {
    let mut words =
        std::env::args().skip(1).filter(|word| word != "child-guard").skip_while(|word| word == "--");
    let Some(command) = words.next() else { std::process::exit(2) };
    let args: Vec<String> = words.collect();
    std::process::exit(tollgate_upstream::guard::run_guard(&command, &args));
}
