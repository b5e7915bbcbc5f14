//! Responses to denied requests.

mod forms;
mod grpc;
mod refusal;

pub use forms::{Empty, Problem, Text};
pub use grpc::Grpc;
pub(crate) use grpc::{GRPC_DETAILS, GRPC_MESSAGE, GRPC_PUSHBACK, GRPC_STATUS};
pub(crate) use refusal::status;
pub use refusal::{BoxRespond, Refusal, Respond, RespondFn, respond_fn};
