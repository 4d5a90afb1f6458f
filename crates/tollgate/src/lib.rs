//! The binary: command line, configuration, wiring, start and drain.
//!
//! A library only so that tests can reach what the command line is made from; nothing else may import it.

mod admin_keys;
mod administering;
mod approvals;
mod audit;
mod blocks;
mod check;
pub mod cli;
mod client;
mod client_config;
mod completions;
pub mod config;
mod connect;
mod demo;
mod door;
mod exit;
mod exporting;
mod guarding;
mod handover;
mod keeping;
mod keys;
mod listen;
mod notify;
mod out;
mod pauses;
mod pins;
mod policing;
mod policy;
mod registering;
mod remote;
mod reviewing;
mod revocations;
mod ruling;
mod running;
mod serve;
mod servers;
mod signals;
mod sockets;
mod state;
mod tools;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use tollgate_telemetry::{Format, LogSettings};

use cli::{Cli, Command, DemoServer, LogFormat};
use exit::{Exit, Failure};
use out::{Printer, To};

/// Runs the command that was typed, to its end.
pub fn run() -> ExitCode {
    // Before anybody can replace the file.
    _ = handover::program();
    let cli = Cli::parse();
    // The guard has neither a log nor a runtime: it must stay small, and outlive what goes wrong here.
    if let Command::ChildGuard(guard) = &cli.command {
        return guard_child(guard);
    }
    let ended = start_log(&cli).and_then(|log| {
        let ended = run_async(cli.command, cli.global.log_format);
        drop(log);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let err = Printer::new(To::Err);
            if !failure.text.is_empty() {
                err.line(format!("{} {}", err.red("error:"), failure.text));
            }
            failure.code.into()
        }
    }
}

fn start_log(cli: &Cli) -> Result<tollgate_telemetry::LogGuard, Failure> {
    let standard = match cli.command {
        Command::Serve(_) => "info",
        // What becomes of the one endpoint is their answer, and needs no log beside it.
        Command::Tools(_) => "error",
        _ => "warn",
    };
    let settings = LogSettings {
        format: match cli.global.log_format {
            LogFormat::Human => Format::Human,
            LogFormat::Json => Format::Json,
        },
        filter: cli.global.log.clone().unwrap_or_else(|| standard.to_owned()),
        colour: out::colours_wanted(),
    };
    tollgate_telemetry::init(&settings).map_err(|error| Failure::usage(error.to_string()))
}

fn run_async(command: Command, log_format: LogFormat) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime does not start: {error}")))?;
    let ended = runtime.block_on(async {
        match command {
            Command::Tools(command) => tools::run(command).await,
            Command::DemoServer(DemoServer::Stdio) => demo::notes::serve_stdio().await,
            Command::DemoServer(DemoServer::Http { until_stdin_ends }) => {
                demo::calendar::serve_http(until_stdin_ends).await
            }
            Command::Completions(command) => {
                completions::print(&command);
                Ok(())
            }
            Command::ClientConfig(command) => Box::pin(client_config::print(&command)).await,
            Command::Connect(command) => connect::run(command).await,
            Command::Serve(command) => Box::pin(serve::run(command, log_format)).await,
            Command::Check(command) => check::run(&command).await,
            Command::Keys(command) => keys::run(command).await,
            Command::AdminKeys(command) => admin_keys::run(command).await,
            Command::Revocations(command) => revocations::run(command).await,
            Command::Block(command) => blocks::block(&command).await,
            Command::Unblock(command) => blocks::unblock(&command).await,
            Command::Blocks(command) => blocks::list(&command).await,
            Command::Approvals(command) => approvals::run(&command).await,
            Command::Paused(command) => pauses::list(&command).await,
            Command::Resume(command) => pauses::resume(&command).await,
            Command::Pins(command) => pins::run(command).await,
            Command::Servers(command) => servers::run(*command).await,
            Command::Policy(command) => policy::run(*command).await,
            Command::Guard(command) => guarding::run(&command),
            Command::Audit(command) => audit::run(*command).await,
            Command::Usage(command) => usage::run(&command).await,
            Command::Demo(command) => demo::run(command).await,
            // Handled before there is a runtime.
            Command::ChildGuard(_) => Ok(()),
        }
    });
    // A thread that waits for a line of standard input cannot be stopped, and must not be waited for.
    runtime.shutdown_background();
    ended
}

fn guard_child(guard: &cli::ChildGuard) -> ExitCode {
    let mut words = guard.args.iter();
    let Some(command) = words.next() else {
        return Exit::Usage.into();
    };
    let args: Vec<String> = words.cloned().collect();
    let status = tollgate_upstream::guard::run_guard(command, &args);
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}
