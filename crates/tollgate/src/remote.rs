//! What a person says about the endpoint to reach: headers, with secrets from the environment.

use http::{HeaderName, HeaderValue};
use tollgate_model::Secret;

use crate::exit::Failure;

/// Reads `Name: value` options. `${NAME}` in a value stands for an environment variable, so that a secret need not be
/// typed where others see it.
pub(crate) fn headers(options: &[String]) -> Result<Vec<(HeaderName, Secret)>, Failure> {
    options.iter().map(|option| header(option, |name| std::env::var(name).ok())).collect()
}

fn header(option: &str, env: impl Fn(&str) -> Option<String>) -> Result<(HeaderName, Secret), Failure> {
    // The option may hold a secret: what is wrong is said without showing it.
    let wrong = |what: &str| Failure::usage(format!("--header: {what}"));
    let (name, value) = option.split_once(':').ok_or_else(|| wrong("write it as \"Name: value\""))?;
    let name = name.trim();
    let header = HeaderName::try_from(name).map_err(|_| wrong(&format!("{name:?} is not a header name")))?;
    let value = expand(value.trim(), env).map_err(|problem| wrong(&format!("{name}: {problem}")))?;
    if HeaderValue::from_str(&value).is_err() {
        return Err(wrong(&format!("the value of {name} has characters that HTTP does not allow")));
    }
    Ok((header, Secret::new(value)))
}

fn expand(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("`${` without `}`")?;
        expanded.push_str(before);
        expanded.push_str(&env(name).ok_or_else(|| format!("the environment variable {name} is not set"))?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(option: &str) -> Result<(String, String), String> {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        header(option, env)
            .map(|(name, value)| (name.to_string(), value.expose().to_owned()))
            .map_err(|failure| failure.text)
    }

    #[test]
    fn values_come_from_the_environment() {
        let expected = ("authorization".to_owned(), "Bearer s3cret".to_owned());
        assert_eq!(read("Authorization: Bearer ${TOKEN}"), Ok(expected));
        assert!(read("Authorization: ${OTHER}").unwrap_err().contains("OTHER is not set"));
        assert!(read("nothing").unwrap_err().contains("Name: value"));
        assert!(read("X: a\nb").unwrap_err().contains("does not allow"));
    }
}
