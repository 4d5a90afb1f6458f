//! `tollgate check`: what `serve` would do with a configuration, without serving.

use serde_json::{Value, json};
use tollgate_catalog::ToolsetSettings;
use tollgate_identity::Identity;
use tollgate_model::{Holder, TenantId};
use tollgate_store::Follower;
use tollgate_upstream::{ServerSettings, Transport};

use crate::cli::Check;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To};
use crate::serve;

/// Reads the configuration on the same path as `serve`, up to the moment before the listeners are bound.
pub(crate) fn run(command: &Check) -> Result<(), Failure> {
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
    serve::build(&config, &Identity::new(config.identity.clone(), Follower::of_nothing()))?;

    if command.json {
        out.line(to_json(&config).to_string());
    } else {
        show(&config);
    }
    Ok(())
}

fn to_json(config: &Config) -> Value {
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
            format!("{}://{authority}{}", http.url.scheme_str().unwrap_or("http"), http.url.path())
        }
        Transport::Stdio(stdio) => stdio.command.clone(),
    }
}
