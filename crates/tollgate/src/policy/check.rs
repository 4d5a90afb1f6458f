//! `tollgate policy check`.

use serde_json::{Value, json};
use tollgate_model::TenantId;
use tollgate_policy::{Mode, PolicySet, Untyped};

use super::setting::{Setting, Tenant, show};
use crate::cli::policy::PolicyCheck;
use crate::config::{Problem, Severity};
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To, safe};

/// Compiles the policies of every tenant, also those that only look on, and tells everything that is found.
pub(crate) async fn run(command: &PolicyCheck) -> Result<(), Failure> {
    let setting = Setting::open(&command.basis).await?;
    setting.need_policies()?;
    let mut problems: Vec<Problem> = Vec::new();
    let mut silent = Vec::new();
    for tenant in &setting.tenants {
        let found = match setting.compile(tenant, setting.environment.as_deref(), Mode::New) {
            Ok(compiled) => {
                if compiled.set.allows_nothing() && !is_unused(&setting, tenant) {
                    silent.push(tenant.id.as_str());
                }
                compiled.findings
            }
            Err(problems) => problems,
        };
        let shadow = tenant.shadow.clone().map(|shadow| tenant.under(shadow));
        let shadow =
            shadow.map(|tenant| match setting.compile(&tenant, setting.environment.as_deref(), Mode::New) {
                Ok(compiled) => compiled.findings,
                Err(problems) => problems,
            });
        let found = found.into_iter().chain(shadow.into_iter().flatten());
        // What is wrong with the operator's file is wrong for every tenant, and told once.
        for problem in found {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    let untyped = untyped(&setting);
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if command.json {
        let untyped: Vec<Value> = untyped.iter().map(untyped_json).collect();
        let object = json!({
            "ok": errors == 0,
            "problems": problems,
            "allowsNothing": silent,
            "untyped": untyped,
        });
        Printer::new(To::Out).line(object.to_string());
    } else {
        report(&setting, &problems, &untyped, &silent, errors);
    }
    match errors {
        0 => Ok(()),
        _ => Err(Failure { code: Exit::Config, text: "the policies cannot be used".to_owned() }),
    }
}

/// The tenant that is always there, where others are what the configuration is about.
fn is_unused(setting: &Setting, tenant: &Tenant) -> bool {
    tenant.id == TenantId::default() && setting.tenants.len() > 1 && tenant.sources.tenant.is_empty()
}

/// What policies cannot read, each once.
fn untyped(setting: &Setting) -> Vec<Untyped> {
    let mut all: Vec<Untyped> = Vec::new();
    for found in setting.tenants.iter().flat_map(|tenant| PolicySet::untyped(&tenant.known)) {
        if !all.contains(&found) {
            all.push(found);
        }
    }
    all
}

fn untyped_json(untyped: &Untyped) -> Value {
    json!({ "server": &*untyped.server, "tool": &*untyped.native, "argument": untyped.argument, "why": untyped.why })
}

fn report(setting: &Setting, problems: &[Problem], untyped: &[Untyped], silent: &[&str], errors: usize) {
    let (out, err) = (Printer::new(To::Out), Printer::new(To::Err));
    show(problems, err);
    for tenant in silent {
        let word = err.red("warning:");
        err.line(format!("{word} no permit is in force: nobody of tenant `{tenant}` may do anything\n"));
    }
    for Untyped { server, native, argument, why } in untyped {
        let what = match argument {
            Some(argument) => format!("the argument `{argument}` of {server}__{native}"),
            None => format!("the arguments of {server}__{native}"),
        };
        let note = safe(&format!("policies cannot read {what}: {why}"));
        err.line(format!("{} {note}", err.dim("note:")));
    }
    for server in setting.tenants.iter().flat_map(|tenant| &tenant.known.servers) {
        if server.tools.is_none() {
            let note = format!("the tools of `{}` are not known", server.name);
            err.line(format!("{} {note}; rules about them are checked when they are", err.dim("note:")));
        }
    }
    if errors == 0 {
        let files = setting.files().len();
        let plural = if files == 1 { "file" } else { "files" };
        let used = setting.tenants.iter().filter(|tenant| !is_unused(setting, tenant)).count();
        let tenants = if setting.tenants.len() > 1 { format!(" for {used} tenants") } else { String::new() };
        out.line(format!("{} {files} {plural} of policies{tenants}", out.green("ok:")));
    } else {
        let plural = if errors == 1 { "" } else { "s" };
        err.line(format!("{errors} error{plural} in the policies"));
    }
}
