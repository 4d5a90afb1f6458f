//! Arguments and results that do not fit what their tool declares.

use tollgate_model::ServerId;
use tracing::info;

use crate::counters;

/// Something does not fit a schema. What it is stands in the record.
#[derive(Debug)]
pub struct SchemaFault<'a> {
    /// `arguments` or `result`.
    pub place: &'static str,
    /// What became of it: `report`, `refuse` or `strip`.
    pub action: &'static str,
    /// The server.
    pub server: &'a ServerId,
    /// How much does not fit.
    pub count: usize,
}

impl SchemaFault<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { place, action, server, count } = self;
        counters::schema_fault(place, action);
        let server = server.label().to_string();
        info!(place, action, %server, count, "something does not fit what its tool declares");
    }
}
