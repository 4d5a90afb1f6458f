//! Where a database is.

use std::fmt;
use std::path::PathBuf;

use tollgate_model::Secret;
use url::Url;

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// SQLite, in this file. It and its folder are made if they are missing, for their owner alone.
    File(PathBuf),
    /// PostgreSQL, at this URL: it may hold a password.
    Postgres(Secret),
}

/// Why a URL is no place for a database. Never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// It is no URL at all.
    #[error("it is no URL")]
    NoUrl,
    /// Of something else.
    #[error("it does not begin with `postgres://` or `postgresql://`")]
    NotPostgres,
    /// A parameter in its query that nothing is known of.
    #[error(
        "a parameter behind its `?` is not known: there are `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host`, `port`, \
         `dbname`, `user`, `password`, `application_name` and `options`"
    )]
    Parameter,
    /// Of no server of shared counters.
    #[error("it is no URL as `redis://HOST:PORT` or `rediss://HOST:PORT`")]
    NotRedis,
    /// A parameter in its query has no possible value.
    #[error("a parameter behind its `?` cannot have this value")]
    Value,
}

const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

impl Place {
    /// From the URL of a PostgreSQL database.
    pub fn postgres(url: Secret) -> Result<Self, InvalidPlace> {
        options(&url)?;
        Ok(Self::Postgres(url))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

/// How to connect to what a URL names. The library logs parameters that it does not know, so they never get there.
pub(crate) fn options(url: &Secret) -> Result<sqlx::postgres::PgConnectOptions, InvalidPlace> {
    let parsed = Url::parse(url.expose()).map_err(|_| InvalidPlace::NoUrl)?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(InvalidPlace::NotPostgres);
    }
    if !parsed.query_pairs().all(|(key, _)| PARAMETERS.contains(&&*key)) {
        return Err(InvalidPlace::Parameter);
    }
    url.expose().parse().map_err(|_| InvalidPlace::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_without_its_secrets() {
        let of = |url: &str| Place::postgres(Secret::new(url.to_owned()));
        let place =
            of("postgres://tollgate:hunter2@db.example:5433/gate?sslmode=verify-full").expect("a place");
        assert_eq!(format!("{place:?}"), "Postgres(..)");
        for (url, why) in [
            ("hunter2", InvalidPlace::NoUrl),
            ("mysql://tollgate:hunter2@db/gate", InvalidPlace::NotPostgres),
            ("postgres://db/gate?passwort=hunter2", InvalidPlace::Parameter),
            ("postgres://db/gate?sslmode=hunter2", InvalidPlace::Value),
            ("postgres://db:hunter2/gate", InvalidPlace::NoUrl),
        ] {
            let error = of(url).expect_err(url);
            assert_eq!(error, why, "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
