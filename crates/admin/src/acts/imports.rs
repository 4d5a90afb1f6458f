//! Servers of other programs' files, of a `server.json` and of registries, as drafts: in one act, with a word on each.

use std::sync::Arc;

use http::StatusCode;
use tollgate_model::{ServerName, TenantId};
use tollgate_store::{About, Life, Registration, RegistrationId, Store};

use super::servers::{Said, check_own, doing, id, of_name, put, read, shares};
use super::{reason, see_through};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record;
use crate::registry::{FoundServer, ImportSource};
use crate::roles::{ChangeServers, May, Sure};

/// How many servers of a registry can be named at once.
const ONLY_MAX: usize = 20;
/// Of how many entries a refusal says why.
const TOLD_MAX: usize = 20;

/// What is to be imported.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) source: ImportSource,
    pub(crate) only: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) reason: String,
    /// Whether those are taken that can be; otherwise all or none.
    pub(crate) each: bool,
    /// Whether a draft that is there already is edited.
    pub(crate) replace: bool,
}

/// What became of an entry.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it is called where it was found, in whole.
    pub(crate) full: String,
    pub(crate) became: Result<Registration, Problem>,
}

/// A server that was found, as it would be registered.
struct Draft {
    id: RegistrationId,
    reach: Arc<str>,
    about: About,
}

/// Finds servers elsewhere, and registers them as drafts: all or none, or each that can be.
pub(crate) async fn import(
    plane: Arc<Plane>,
    may: &May<ChangeServers>,
    tenant: TenantId,
    wanted: Wanted,
) -> Result<Vec<Entry>, Problem> {
    let why = reason(&wanted.reason, false)?;
    // Nothing is fetched for whoever may not.
    let mut sure = may.over(Some(&tenant))?;
    if wanted.only.len() > ONLY_MAX {
        return Err(Problem::invalid(format!("only: more than {ONLY_MAX}")));
    }
    let found = find(&plane, &wanted).await?;
    let name = wanted.name.clone().filter(|name| !name.is_empty());
    if name.is_some() && found.len() > 1 {
        return Err(Problem::invalid("name: there are several servers; choose one with `only`"));
    }
    let mut entries = Vec::with_capacity(found.len());
    for one in found {
        let full = one.full.clone();
        let mut draft = draft(&plane, &tenant, (name.as_deref(), wanted.owner.as_deref()), one);
        if draft.as_ref().is_ok_and(|draft| shares(&draft.reach)) {
            match may.over(None) {
                Ok(everywhere) => sure = everywhere,
                Err(_) => draft = Err(not_shared()),
            }
        }
        entries.push((full, draft));
    }
    register(plane, sure, entries, why, (wanted.each, wanted.replace)).await
}

/// The servers that are meant.
async fn find(plane: &Arc<Plane>, wanted: &Wanted) -> Result<Vec<FoundServer>, Problem> {
    let place = Arc::clone(&plane.reviewing).try_acquire_owned();
    let place =
        place.map_err(|_| Problem::unavailable("others import or look at servers just now: try again"))?;
    let is_url = matches!(wanted.source, ImportSource::Url(..));
    let (fetching, source) = (Arc::clone(plane), wanted.source.clone());
    // It has its place until all that was begun for it has ended, whether somebody waits for it or not.
    let found = see_through(async move {
        let _place = place;
        fetching.world().find_servers(source).await.map_err(Problem::invalid)
    });
    let mut found = found.await?;
    let bare = |name: &String| match name.split_once('@') {
        Some((name, _)) if is_url => name.to_owned(),
        _ => name.clone(),
    };
    let only: Vec<String> = wanted.only.iter().map(bare).collect();
    found.retain(|one| only.is_empty() || only.contains(&one.full) || only.contains(&one.label));
    if let Some(lost) =
        only.iter().find(|name| !found.iter().any(|one| one.full == **name || one.label == **name))
    {
        return Err(Problem::invalid(format!("only: there is no server {lost:?}")));
    }
    if found.is_empty() {
        return Err(Problem::invalid("there are no servers in it"));
    }
    Ok(found)
}

fn draft(
    plane: &Plane,
    tenant: &TenantId,
    (name, owner): (Option<&str>, Option<&str>),
    one: FoundServer,
) -> Result<Draft, Problem> {
    let reach = one.reach.map_err(Problem::invalid)?;
    let name = match name {
        Some(name) => Ok(name.to_owned()),
        None => ServerName::from_label(&one.label).map(|name| name.as_str().to_owned()),
    };
    let name = name.map_err(|bad| Problem::invalid(format!("{:?} cannot be a name: {bad}", one.label)))?;
    let id = id(tenant.clone(), &name, &one.version)?;
    let owner = owner.filter(|owner| !owner.is_empty()).map(Arc::from);
    let about = About { owner: owner.or(one.about.owner), ..one.about };
    let said = Said { reach: reach.to_string(), about, reason: String::new() };
    let (reach, about, _) = read(plane, &id, said)?;
    Ok(Draft { id, reach, about })
}

fn not_shared() -> Problem {
    let text = "a server that every tenant has takes a role in every tenant";
    Problem::new(StatusCode::FORBIDDEN, "not_allowed", text)
}

/// Registers what can be, in one change of the store, unless all or none is wanted and one cannot.
async fn register(
    plane: Arc<Plane>,
    sure: Sure<ChangeServers>,
    drafts: Vec<(String, Result<Draft, Problem>)>,
    why: Arc<str>,
    (each, replace): (bool, bool),
) -> Result<Vec<Entry>, Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let doing = doing(&sure.who, why);
    let (mut entries, mut before): (Vec<Entry>, Vec<Registration>) = (Vec::new(), Vec::new());
    for (full, draft) in drafts {
        let became = match draft {
            Ok(draft) if entries.iter().any(|entry| entry.is(&draft.id)) => {
                let text = format!("another server becomes `{}` too: import them one by one", draft.id.name);
                Err(Problem::new(StatusCode::CONFLICT, "taken", text))
            }
            Ok(draft) => next(&*store, &sure, draft, replace, &doing).await?,
            Err(problem) => Err(problem),
        };
        let became = became.map(|(was, next)| {
            before.extend(was);
            next
        });
        entries.push(Entry { full, became });
    }
    let made: Vec<Registration> =
        entries.iter().filter_map(|entry| entry.became.as_ref().ok()).cloned().collect();
    if made.is_empty() || (!each && made.len() < entries.len()) {
        return Err(refused(&entries));
    }
    put(&plane, &store, &sure, &before, made).await?;
    Ok(entries)
}

impl Entry {
    fn is(&self, id: &RegistrationId) -> bool {
        self.became.as_ref().is_ok_and(|one| one.id == *id)
    }
}

/// What becomes of one, beside what is registered, and what was there in its place.
async fn next(
    store: &dyn Store,
    sure: &Sure<ChangeServers>,
    draft: Draft,
    replace: bool,
    doing: &tollgate_store::Doing,
) -> Result<Result<(Option<Registration>, Registration), Problem>, Problem> {
    let Draft { id, reach, about } = draft;
    let versions = of_name(store, &id.tenant, &id.name).await?;
    if let Err(problem) = check_own(&sure.who, &id.tenant, &versions) {
        return Ok(Err(problem));
    }
    let before = versions.into_iter().find(|one| one.id == id);
    Ok(match before {
        None => Ok((None, Registration::draft(id, reach, about, "import", doing))),
        Some(before) if replace && before.life == Life::Draft => {
            // What every tenant has is changed by whoever may in every tenant.
            if sure.tenant.is_some() && shares(&before.reach) {
                return Ok(Err(not_shared()));
            }
            before.edited(reach, about, doing).map(|next| (Some(before), next)).map_err(Problem::from)
        }
        Some(before) => {
            let (version, name, life) = (&id.version, &id.name, before.life.as_str());
            let text = format!("version {version} of `{name}` is registered already, and is {life}");
            Err(Problem::new(StatusCode::CONFLICT, "taken", text))
        }
    })
}

/// Why nothing of it was taken: the status is that of the first that could not be.
fn refused(entries: &[Entry]) -> Problem {
    let refused = || entries.iter().filter_map(|entry| Some((&entry.full, entry.became.as_ref().err()?)));
    let Some((_, first)) = refused().next() else {
        return Problem::invalid("there are no servers in it");
    };
    let said = refused().take(TOLD_MAX).map(|(full, problem)| format!("{full}: {}", problem.detail()));
    let detail = format!("nothing is registered: {}", said.collect::<Vec<_>>().join("; "));
    Problem::new(first.status(), first.code(), detail)
}
