//! What the commands work on: the policies of a configuration, and what is known of the servers that they are about.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_admin::{PolicyRemark, RuleCandidate};
use tollgate_catalog::Known;
use tollgate_identity::{Identity, IdentitySettings};
use tollgate_model::{KeyRecord, TenantId};
use tollgate_policy::{Finding, Level, Mode, PolicySet, Source, Sources};
use tollgate_store::{Follower, Store};

use super::catalog::Catalog;
use super::stored;
use crate::administering::remark;
use crate::cli::policy::Basis;
use crate::config::{Config, ConfigError, Env, Problem, Severity, closest};
use crate::exit::{Exit, Failure};
use crate::out::{Printer, To};
use crate::state::failure;
use crate::{registering, ruling, serve, state};

/// The policies, and what they are about.
pub(crate) struct Setting {
    pub(crate) file: PathBuf,
    /// Where the gateway runs, as configured.
    pub(crate) environment: Option<Arc<str>>,
    /// Whether the configuration speaks of policy.
    pub(crate) are_configured: bool,
    /// In the order of the configuration; the one that is always there first.
    pub(crate) tenants: Vec<Tenant>,
    /// The API keys that are known: those of the configuration, and, without a saved catalogue, those that are stored.
    pub(crate) keys: Vec<KeyRecord>,
}

/// One tenant.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) known: Known,
    pub(crate) sources: Sources,
    /// Its policies that only look on.
    pub(crate) shadow: Option<Sources>,
}

impl Tenant {
    /// The tenant as it would be under other policies.
    pub(crate) fn under(&self, sources: Sources) -> Self {
        Self { id: self.id.clone(), known: self.known.clone(), sources, shadow: None }
    }
}

/// The policies of a tenant, ready to decide, and what was found of them.
pub(crate) struct Compiled {
    pub(crate) set: PolicySet,
    pub(crate) findings: Vec<Problem>,
}

impl Setting {
    /// Reads configuration and catalogue, or what the gateway last saw. What is wrong with the configuration is printed.
    pub(crate) async fn open(basis: &Basis) -> Result<Self, Failure> {
        let config = read_config(&basis.config)?;
        let data_dir = basis.data_dir.clone().unwrap_or_else(|| config.data_dir.clone());
        let config = Box::pin(with_registered(Config { data_dir, ..config }, None)).await;
        if let Some(file) = &basis.catalog {
            let catalog = Catalog::read(file).map_err(|error| refuse(file, &error))?;
            return Ok(Self::of(&config, &catalog));
        }
        let store = stored::open(&config, basis.data_dir.as_deref()).await?;
        let mut setting = Self::of(&config, &stored::catalog(&*store, &config).await?);
        setting.keys.extend(stored::keys(&*store).await?);
        Ok(setting)
    }

    /// The policies of those whom a stored set is about, as they would be if this of it decided. Of servers it is known what a
    /// gateway has kept.
    pub(crate) async fn trying(
        config: Config,
        store: &dyn Store,
        candidate: &RuleCandidate,
    ) -> Result<Self, Failure> {
        let config = Box::pin(registering::with_registered(&config, store, None)).await;
        let config = ruling::with(&config.map_err(|error| failure(&error))?, candidate);
        let mut setting = Self::of(&config, &stored::as_far_as_known(store, &config).await?);
        setting.tenants.retain(|tenant| candidate.id.tenant.as_ref().is_none_or(|of| *of == tenant.id));
        Ok(setting)
    }

    /// Everything that is to be said of all policies, each once.
    pub(crate) fn remarks(&self) -> Vec<PolicyRemark> {
        let mut all: Vec<PolicyRemark> = Vec::new();
        for Tenant { sources, known, .. } in &self.tenants {
            let found = PolicySet::compile(sources, known, self.environment.as_deref(), Mode::New);
            for finding in found.map_or_else(|errors| errors, |(_, findings)| findings) {
                let remark = remark(finding);
                if !all.contains(&remark) {
                    all.push(remark);
                }
            }
        }
        all
    }

    pub(super) fn of(config: &Config, catalog: &Catalog) -> Self {
        // Who calls is said by the commands themselves.
        let nobody = Identity::new(IdentitySettings::default(), Follower::of_nothing());
        let setup = serve::setup(config, &nobody);
        let tenants = setup.tenants.iter().map(|tenant| Tenant {
            id: tenant.id.clone(),
            known: setup.known(tenant, |server| catalog.tools(server)),
            sources: config.policies.of(&tenant.id),
            shadow: config.policies.shadow_of(&tenant.id),
        });
        Self {
            file: config.file.clone(),
            environment: config.environment.clone(),
            are_configured: config.policies.are_configured,
            tenants: tenants.collect(),
            keys: config.identity.keys.clone(),
        }
    }

    /// The tenant of this id.
    pub(crate) fn tenant(&self, id: &TenantId) -> Result<&Tenant, Failure> {
        let names = || self.tenants.iter().map(|tenant| tenant.id.as_str());
        self.tenants.iter().find(|tenant| tenant.id == *id).ok_or_else(|| {
            let help = match closest(id.as_str(), names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
            };
            Failure::usage(format!("there is no tenant `{}`\n  help: {help}", id.as_str()))
        })
    }

    /// Refuses to go on where there are no policies to speak of.
    pub(crate) fn need_policies(&self) -> Result<(), Failure> {
        if self.are_configured {
            return Ok(());
        }
        Err(Failure::config(format!(
            "{} has no `policy`: there is nothing to check\n  help: write `policy: {{ files: [policies/] }}`",
            self.file.display()
        )))
    }

    /// Compiles the policies of a tenant for one environment.
    ///
    /// # Errors
    /// Gives what is wrong, at least one of it an error.
    pub(crate) fn compile(
        &self,
        tenant: &Tenant,
        environment: Option<&str>,
        mode: Mode,
    ) -> Result<Compiled, Vec<Problem>> {
        let problems = |findings: Vec<Finding>| {
            findings.iter().map(|finding| self.problem(tenant, finding)).collect::<Vec<_>>()
        };
        match PolicySet::compile(&tenant.sources, &tenant.known, environment, mode) {
            Ok((set, findings)) => Ok(Compiled { set, findings: problems(findings) }),
            Err(findings) => Err(problems(findings)),
        }
    }

    /// The policies of a tenant as the gateway would use them after its servers have changed: what is found is printed,
    /// and the set is used if it can be.
    pub(crate) fn lenient(&self, tenant: &Tenant, environment: Option<&str>) -> Result<PolicySet, Failure> {
        let err = Printer::new(To::Err);
        let environment = environment.or(self.environment.as_deref());
        match self.compile(tenant, environment, Mode::Accepted) {
            Ok(compiled) => {
                show(&compiled.findings, err);
                Ok(compiled.set)
            }
            Err(problems) => {
                show(&problems, err);
                Err(Failure::config(format!("the policies of {} cannot be used", self.file.display())))
            }
        }
    }

    /// A finding with the line that it is about.
    fn problem(&self, tenant: &Tenant, finding: &Finding) -> Problem {
        let severity = match finding.level {
            Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
        };
        let mut sources = tenant.sources.tenant.iter().chain(&tenant.sources.operator);
        let text = sources.find(|source| source.path == finding.path).map_or("", |source| &*source.text);
        let file = self.path_of(&finding.path);
        let place = (finding.line as usize, finding.column as usize);
        let (message, suggestion) = (finding.message.clone(), finding.suggestion.clone());
        Problem::in_text(severity, (&file, text), place, message, suggestion)
    }

    /// Where a source is, seen from where the command was typed.
    pub(crate) fn path_of(&self, source: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(source)
    }

    /// How many rules of how many files there are.
    pub(crate) fn files(&self) -> Vec<&Source> {
        let mut seen = HashMap::new();
        for source in self
            .tenants
            .iter()
            .flat_map(|tenant| tenant.sources.tenant.iter().chain(&tenant.sources.operator))
        {
            seen.entry(&source.path).or_insert(source);
        }
        let mut files: Vec<&Source> = seen.into_values().collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    }
}

/// Prints what was found, each with its line.
pub(crate) fn show(problems: &[Problem], to: Printer) {
    for problem in problems {
        to.line(problem.render(to.coloured()));
    }
}

/// Reads a configuration; what is wrong with it is printed.
pub(crate) fn read_config(file: &Path) -> Result<Config, Failure> {
    serve::read(file).map_err(|error| refuse(file, &error))
}

/// With what is registered beside the file's servers, as far as a store is at hand.
pub(crate) async fn with_registered(config: Config, env: Option<&dyn Env>) -> Config {
    let Some(store) = state::kept(&config) else { return config };
    registering::with_registered(&config, &*store, env).await.unwrap_or(config)
}

/// Prints what is wrong with a file.
pub(crate) fn refuse(file: &Path, error: &ConfigError) -> Failure {
    let err = Printer::new(To::Err);
    err.line(error.render(err.coloured()).trim_end());
    Failure { code: Exit::Config, text: format!("{} cannot be used", file.display()) }
}
