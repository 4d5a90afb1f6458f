//! `tollgate check`: what `serve` would do with a configuration, without serving.

use serde_json::{Value, json};
use tollgate_catalog::ToolsetSettings;
use tollgate_identity::Identity;
use tollgate_ledger::Ledger;
use tollgate_model::{Holder, TenantId};
use tollgate_policy::{Finding, Level};
use tollgate_proxy::{Gateway, Setup};
use tollgate_store::Follower;
use tollgate_upstream::{ServerSettings, Transport};

use crate::cli::Check;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To};
use crate::policing::{self, Findings};
use crate::{serve, state};

/// Reads the configuration on the same path as `serve`, up to the moment before the listeners are bound.
pub(crate) async fn run(command: &Check) -> Result<(), Failure> {
    let out = Printer::new(To::Out);
    let config = match serve::read(&command.file) {
        Ok(config) => config,
        Err(error) if command.json => {
            let mut object = error.to_json();
            object["ok"] = Value::Bool(false);
            out.line(object.to_string());
            return Err(Failure { code: Exit::Config, text: "the configuration is wrong".to_owned() });
        }
        Err(error) => {
            let err = Printer::new(To::Err);
            err.line(error.render(err.coloured()).trim_end());
            let text = format!("{} cannot be served", command.file.display());
            return Err(Failure { code: Exit::Config, text });
        }
    };
    serve::certificates(serve::DATA_PLANE, config.tls.as_ref(), config.client_certificates.as_ref())?;
    serve::certificates("admin", config.admin_tls.as_ref(), None)?;
    let identity = Identity::new(config.identity.clone(), Follower::of_nothing());
    let gateway = serve::build(&config, &identity, Ledger::off())?;
    let policies = check_policies(&config, &gateway, &serve::setup(&config, &identity), command.json).await?;

    if command.json {
        out.line(to_json(&config, &policies).to_string());
    } else {
        show(&config);
    }
    Ok(())
}

/// What is found of the policies. They are compared with what is known of servers' tools, and nobody asks a server here.
async fn check_policies(
    config: &Config,
    gateway: &Gateway,
    setup: &Setup,
    json: bool,
) -> Result<Findings, Failure> {
    if !policing::are_on(config) {
        return Ok(Vec::new());
    }
    let (out, err) = (Printer::new(To::Out), Printer::new(To::Err));
    match policing::check(config, gateway, setup, state::kept(config).as_ref()).await {
        Ok(compiled) => {
            let findings =
                compiled.findings().map(|(tenant, found)| (tenant.clone(), found.clone())).collect();
            let text = policing::render(&findings);
            if !json && !text.is_empty() {
                err.line(text);
            }
            for tenant in compiled.tenants_without_permits().filter(|_| !json) {
                err.line(format!(
                    "warning: no policy of tenant {} permits anything: its callers can use nothing until `policy.files` \
                     names some",
                    tenant.as_str()
                ));
            }
            Ok(findings)
        }
        Err(findings) => {
            if json {
                out.line(json!({ "ok": false, "policies": shown(&findings) }).to_string());
            } else {
                err.line(policing::render(&findings));
            }
            let text = format!("{} cannot be served: its policies are wrong", config.file.display());
            Err(Failure { code: Exit::Config, text })
        }
    }
}

fn shown(findings: &Findings) -> Value {
    let one = |(tenant, found): &(TenantId, Finding)| {
        json!({
            "tenant": tenant.as_str(),
            "level": if found.level == Level::Error { "error" } else { "warning" },
            "path": &*found.path,
            "line": found.line,
            "column": found.column,
            "message": found.message,
            "suggestion": found.suggestion,
        })
    };
    findings.iter().map(one).collect()
}

fn to_json(config: &Config, policies: &Findings) -> Value {
    let servers: Vec<Value> = config
        .servers
        .iter()
        .map(|server| {
            json!({
                "server": server.name.as_str(),
                "tenant": server.holder.tenant().map(TenantId::as_str),
                "transport": transport(server),
                "at": place(server),
            })
        })
        .collect();
    let names = |toolsets: &[ToolsetSettings]| -> Vec<String> {
        toolsets.iter().map(|toolset| toolset.name.to_string()).collect()
    };
    let tenants: Vec<Value> = config
        .tenants
        .iter()
        .map(|tenant| json!({ "tenant": tenant.id.as_str(), "toolsets": names(&tenant.toolsets) }))
        .collect();
    let toolsets = config.tenants.first().map(|own| names(&own.toolsets)).unwrap_or_default();
    json!({
        "ok": true,
        "listen": config.listen.to_string(),
        "adminListen": config.admin_listen.to_string(),
        "publicUrl": config.proxy.public_url,
        "servers": servers,
        "toolsets": toolsets,
        "tenants": tenants,
        "policies": shown(policies),
        "problems": config.warnings,
    })
}

fn show(config: &Config) {
    let (out, err) = (Printer::new(To::Out), Printer::new(To::Err));
    for problem in &config.warnings {
        err.line(problem.render(err.coloured()).trim_end());
    }
    out.line(format!("{} {} can be served", out.green("ok:"), config.file.display()));
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    out.line(format!("  clients   {}://{}/mcp", scheme(config.tls.is_some()), config.listen));
    out.line(format!("  health    {}://{}/readyz", scheme(config.admin_tls.is_some()), config.admin_listen));
    let width = config.servers.iter().map(|server| server.name.as_str().len()).max().unwrap_or_default();
    let show = |label: &str, servers: &[&ServerSettings], toolsets: &[ToolsetSettings]| {
        for (nth, server) in servers.iter().enumerate() {
            let label = if nth == 0 { label } else { "" };
            let name = format!("{:width$}", server.name.as_str());
            out.line(format!(
                "  {label:<9} {}  {:<5}  {}",
                out.bold(&name),
                transport(server),
                place(server)
            ));
        }
        for (nth, toolset) in toolsets.iter().enumerate() {
            let label = if nth == 0 { "toolsets" } else { "" };
            out.line(format!("  {label:<9} {}", out.bold(toolset.name.as_str())));
        }
    };
    let held = |holder: &Holder| -> Vec<&ServerSettings> {
        config.servers.iter().filter(|server| server.holder == *holder).collect()
    };
    show("shared", &held(&Holder::Shared), &[]);
    for tenant in &config.tenants {
        if config.tenants.len() > 1 {
            out.line(format!("  {:<9} {}", "tenant", out.bold(tenant.id.as_str())));
        }
        show("servers", &held(&Holder::Tenant(tenant.id.clone())), &tenant.toolsets);
    }
}

fn transport(server: &ServerSettings) -> &'static str {
    match server.transport {
        Transport::Http(_) => "http",
        Transport::Sse(_) => "sse",
        Transport::Stdio(_) => "stdio",
    }
}

/// Where a server is, without what may be secret: a query, arguments, environment, headers.
fn place(server: &ServerSettings) -> String {
    match &server.transport {
        Transport::Http(http) | Transport::Sse(http) => {
            let authority = http.url.authority().map_or("", |authority| authority.as_str());
            let first =
                format!("{}://{authority}{}", http.url.scheme_str().unwrap_or("http"), http.url.path());
            match http.replicas.len() {
                0 | 1 => first,
                2 => format!("{first} and another replica"),
                several => format!("{first} and {} other replicas", several - 1),
            }
        }
        Transport::Stdio(stdio) => stdio.command.clone(),
    }
}
