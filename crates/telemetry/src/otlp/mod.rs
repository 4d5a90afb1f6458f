//! OTLP, the protocol of OpenTelemetry: <https://opentelemetry.io/docs/specs/otlp/>.
//!
//! [`Client`] sends one signal to one receiver, by gRPC or by HTTP with protobuf bodies, and says of what was not taken
//! whether the same may be sent again. It keeps nothing: whoever has a queue, or a cursor on disk, asks it to send.
//! [`OtlpSettings`] says where to, as the configuration and the standard variables of the environment do.

mod backoff;
mod client;
mod endpoint;
mod environment;
mod grpc;
mod http;

pub use self::client::{Accepted, Client, Failure};
pub use self::endpoint::{ClientCertificate, Endpoint, OtlpError, Protocol, Signal};
pub use self::environment::{Environment, OtlpSettings};
pub use opentelemetry_proto::tonic as proto;
pub use prost::Message;
