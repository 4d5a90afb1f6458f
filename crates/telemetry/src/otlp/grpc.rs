//! OTLP over gRPC.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint as Target, Identity};
use tonic::{Code, Request, Status};

use super::client::Failure;
use super::endpoint::{Endpoint, OtlpError, Signal};

/// The type of the detail that says when to come back.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

#[derive(Debug, Clone)]
pub(super) struct Sender {
    channel: Channel,
    metadata: MetadataMap,
    method: PathAndQuery,
}

impl Sender {
    pub(super) fn new(signal: Signal, endpoint: &Endpoint) -> Result<Self, OtlpError> {
        let unusable = |reason: String| OtlpError::Unusable { url: endpoint.shown(), reason };
        let url = &endpoint.url;
        let origin = url.origin();
        if !origin.is_tuple() || !matches!(url.scheme(), "http" | "https") {
            return Err(unusable("it is no http or https URL".to_owned()));
        }
        let mut target = Target::from_shared(origin.ascii_serialization())
            .and_then(|target| target.user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION"))))
            .map_err(|error| unusable(error.to_string()))?
            .connect_timeout(endpoint.timeout)
            // A receiver that is gone without a word is noticed although nothing is sent to it.
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        if url.scheme() == "https" {
            let roots = tollgate_egress::trusted(endpoint.ca_pem.as_deref())?;
            let mut tls = ClientTlsConfig::new().trust_anchors(roots.roots.iter().cloned());
            if let Some(certificate) = &endpoint.certificate {
                tls = tls.identity(Identity::from_pem(&*certificate.chain_pem, certificate.key_pem.expose()));
            }
            target = target.tls_config(tls).map_err(|error| unusable(error.to_string()))?;
        }
        let mut metadata = MetadataMap::new();
        for (name, value) in &endpoint.headers {
            let wrong = || OtlpError::Header(name.clone());
            let key: AsciiMetadataKey = name.parse().map_err(|_| wrong())?;
            let mut value: AsciiMetadataValue = value.expose().parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            metadata.insert(key, value);
        }
        Ok(Self {
            channel: target.connect_lazy(),
            metadata,
            method: PathAndQuery::from_static(signal.method()),
        })
    }

    pub(super) async fn send(&self, message: Bytes) -> Result<Bytes, Failure> {
        let mut grpc = Grpc::new(self.channel.clone());
        if let Err(error) = grpc.ready().await {
            return Err(Failure::again(format!("the receiver cannot be reached: {}", innermost(&error))));
        }
        let mut request = Request::new(message);
        request.metadata_mut().clone_from(&self.metadata);
        match grpc.unary(request, self.method.clone(), Whole).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(failure(&status)),
        }
    }
}

/// What a status means, by the table of the OTLP specification.
fn failure(status: &Status) -> Failure {
    let after = retry_info(status.details());
    let told = if status.message().is_empty() { innermost(status) } else { status.message().to_owned() };
    let reason = format!("the receiver answered with {:?}: {told}", status.code());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::Again { after, reason },
        // The connection broke: nobody has said no.
        Code::Unknown if std::error::Error::source(status).is_some() => Failure::again(reason),
        Code::ResourceExhausted if after.is_some() => Failure::Again { after, reason },
        _ => Failure::Never { reason },
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// When to come back, if the details of a status say so.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let details = RpcStatus::decode(details).ok()?.details;
    let info = details.iter().find(|detail| detail.type_url == RETRY_INFO)?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)))
}

/// `google.rpc.Status`, as far as it is read here.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Messages are encoded by who sends them, once, however often they are sent.
#[derive(Debug, Clone, Copy)]
struct Whole;

impl Codec for Whole {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn status(code: Code, delay: Option<i64>) -> Status {
        let details = delay.map(|seconds| {
            let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos: 500_000_000 }) };
            let detail = Any { type_url: Cow::from(RETRY_INFO).into_owned(), value: info.encode_to_vec() };
            RpcStatus { details: vec![detail] }.encode_to_vec()
        });
        Status::with_details(code, "so", details.unwrap_or_default().into())
    }

    #[test]
    fn codes_are_retried_as_the_specification_says() {
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            assert!(failure(&status(code, None)).may_retry(), "{code:?}");
        }
        for code in [
            Code::Unknown,
            Code::InvalidArgument,
            Code::NotFound,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::ResourceExhausted,
            Code::Unimplemented,
            Code::Internal,
        ] {
            assert!(!failure(&status(code, None)).may_retry(), "{code:?}");
        }
        let asked = Some(Duration::from_millis(7500));
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let failure = failure(&status(code, Some(7)));
            assert!(matches!(failure, Failure::Again { after, .. } if after == asked), "{failure:?}");
        }
    }
}
