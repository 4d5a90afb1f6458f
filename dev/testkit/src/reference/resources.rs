//! Resources of the reference server.

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResponse, ReadResourceResult,
    Resource, ResourceTemplate,
};
use serde_json::json;

use crate::tools::{PIXEL_PNG, decode};

/// Every resource, on one page.
pub(crate) fn list() -> Result<ListResourcesResult, ErrorData> {
    let resources: Vec<Resource> = decode(json!([
        { "uri": "test://static-text", "name": "static-text", "description": "A text", "mimeType": "text/plain" },
        { "uri": "test://static-binary", "name": "static-binary", "description": "A picture", "mimeType": "image/png" },
        { "uri": "test://watched-resource", "name": "watched-resource", "mimeType": "text/plain" },
    ]))?;
    Ok(ListResourcesResult::with_all_items(resources)
        .with_ttl_ms(60_000)
        .with_cache_scope(CacheScope::Public))
}

/// Every template, on one page.
pub(crate) fn templates() -> Result<ListResourceTemplatesResult, ErrorData> {
    let templates: Vec<ResourceTemplate> = decode(json!([
        { "uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json" },
    ]))?;
    Ok(ListResourceTemplatesResult::with_all_items(templates)
        .with_ttl_ms(60_000)
        .with_cache_scope(CacheScope::Public))
}

/// The contents of one resource.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let contents = match uri {
        "test://static-text" => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource." })
        }
        "test://static-binary" => json!({ "uri": uri, "mimeType": "image/png", "blob": PIXEL_PNG }),
        "test://watched-resource" => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "Nothing has changed." })
        }
        other => {
            let id = other.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
            let Some(id) = id.filter(|id| !id.is_empty() && !id.contains('/')) else {
                return Err(ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri }))));
            };
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
        }
    };
    let mut result: ReadResourceResult = decode(json!({ "contents": [contents], "resultType": "complete" }))?;
    result.ttl_ms = Some(60_000);
    result.cache_scope = Some(CacheScope::Public);
    Ok(result.into())
}
