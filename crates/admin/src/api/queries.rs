//! What the query of an operation may name: what the document says. What no operation heeds is refused, since an answer would read as
//! if it had been.

use std::sync::LazyLock;

use axum::extract::MatchedPath;
use http::request::Parts;

use super::document::{Queries, queries};
use crate::problem::Problem;

static NAMES: LazyLock<Queries> = LazyLock::new(queries);

/// Refuses what the query names and the operation does not know.
pub(crate) fn check(parts: &Parts) -> Result<(), Problem> {
    let Some(query) = parts.uri.query() else { return Ok(()) };
    let operations = parts.extensions.get::<MatchedPath>().and_then(|path| NAMES.get(path.as_str()));
    let operation = operations.into_iter().flatten().find(|(method, _)| parts.method == **method);
    let Some((_, names)) = operation else { return Ok(()) };
    let mut asked = url::form_urlencoded::parse(query.as_bytes());
    match asked.find(|(name, _)| !names.iter().any(|known| known == name)) {
        None => Ok(()),
        Some((name, _)) if names.is_empty() => {
            Err(Problem::invalid(format!("the query: {name:?} means nothing here, nor does anything else")))
        }
        Some((name, _)) => {
            let names = names.join(", ");
            Err(Problem::invalid(format!("the query: {name:?} means nothing here; there are {names}")))
        }
    }
}
