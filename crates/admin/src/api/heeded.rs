//! What the document says of the headers that operations heed. Each operation names them among its parameters; what they do is in
//! [`super::tagged`], [`Seen`] and [`super::once`], and a test asks whether it is so.

use utoipa::IntoParams;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Header, HeaderBuilder, ObjectBuilder, RefOr, Required, ResponseBuilder, Type};

use super::{ONCE_BYTES_MAX, Seen};

pub(super) const IF_MATCH: &str = "If-Match";
const IF_NONE_MATCH: &str = "If-None-Match";
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// What is answered with a tag, and not again to whoever shows the tag.
#[derive(Debug)]
pub(super) enum Tagged {}

/// What is carried out once, however often it is sent.
#[derive(Debug)]
pub(super) enum Repeatable {}

impl IntoParams for Tagged {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = "What is known already: an `ETag`, several with commas between them, or `*`.";
        vec![header(IF_NONE_MATCH, text, ObjectBuilder::new())]
    }
}

impl IntoParams for Seen {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = "What was seen: its `ETag`, several with commas between them, or `*`. Without it, whatever is there is meant.";
        vec![header(IF_MATCH, text, ObjectBuilder::new())]
    }
}

impl IntoParams for Repeatable {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = "By what the request is known again if it is sent anew within 24 hours: it is carried out once, and answered again.";
        let schema = ObjectBuilder::new().min_length(Some(1)).max_length(Some(ONCE_BYTES_MAX));
        vec![header(IDEMPOTENCY_KEY, text, schema.pattern(Some("^[!-~]+$")))]
    }
}

fn header(name: &str, text: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(text))
        .schema(Some(schema.schema_type(Type::String)))
        .build()
}

/// Whether an operation names this header.
pub(super) fn heeds(operation: &Operation, name: &str) -> bool {
    let is_it = |one: &Parameter| one.parameter_in == ParameterIn::Header && one.name == name;
    operation.parameters.iter().flatten().any(|one| matches!(one, RefOr::T(one) if is_it(one)))
}

/// Puts into the answers of an operation what comes of the headers that it heeds.
pub(super) fn answers(operation: &mut Operation) {
    let said = |text: &str| HeaderBuilder::new().description(Some(text)).build();
    let tag = || said("By what it is known again");
    let again = || said("`true` if this was answered before, and nothing was carried out anew");
    let of = |is_so: bool, name: &str, header: Header| is_so.then(|| (name.to_owned(), RefOr::T(header)));
    let (is_tagged, is_repeatable) = (heeds(operation, IF_NONE_MATCH), heeds(operation, IDEMPOTENCY_KEY));
    let answers = &mut operation.responses.responses;
    for (_, answer) in answers.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        let RefOr::T(answer) = answer else { continue };
        answer.headers.extend(of(is_tagged, "ETag", tag()));
        answer.headers.extend(of(is_repeatable, "Idempotent-Replayed", again()));
    }
    if is_tagged {
        let same = ResponseBuilder::new().description("It is what is known already").header("ETag", tag());
        answers.insert("304".to_owned(), RefOr::T(same.build()));
    }
}
