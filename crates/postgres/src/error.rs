//! The meaning of an error of the client or the server for a call.

use deadpool_postgres::{PoolError, TimeoutType};
use ratelimit_meter_store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// The reason why a statement gave no row.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The transaction lost a race, with another or with an upgrade, and was rolled back: it may be tried again.
    Again(StoreError),
    /// The call fails.
    Final(StoreError),
}

impl Failure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Again(error) | Self::Final(error) => error,
        }
    }
}

/// Returns the meaning of an error of a statement.
pub(crate) fn of_statement(error: &Error) -> Failure {
    match error.as_db_error() {
        Some(error) => of_server(error),
        None => Failure::Final(StoreError::Disconnected(text(error))),
    }
}

/// Returns the meaning of an error while the functions are installed, which takes more rights than a call.
pub(crate) fn of_install(error: &Error) -> StoreError {
    let codes = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::INVALID_SCHEMA_NAME];
    match error.as_db_error() {
        Some(error) if codes.contains(error.code()) => StoreError::Refused(format!(
            "{} (SQLSTATE {}). The user needs CREATE on the database, or owns the schema meter; and CREATE on the first schema of the search path",
            error.message(),
            error.code().code()
        )),
        _ => of_statement(error).into_error(),
    }
}

/// Returns `true` if the server is a replica, or read-only for another reason. A replica has no unlogged tables.
pub(crate) fn takes_no_writes(error: &Error) -> bool {
    let codes = [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::FEATURE_NOT_SUPPORTED];
    error.code().is_some_and(|code| codes.contains(code))
}

/// Returns `true` if the session has lost the statement, or if the statement's result has another type than when it was prepared. The statement did not run.
pub(crate) fn must_prepare_again(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        let is_of_the_plan = || error.routine() == Some("RevalidateCachedQuery");
        *error.code() == SqlState::UNDEFINED_PSTATEMENT
            || *error.code() == SqlState::FEATURE_NOT_SUPPORTED && is_of_the_plan()
    })
}

fn of_server(error: &DbError) -> Failure {
    let code = error.code();
    let again = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // An upgrade renamed a column while the call waited for it: the next try calls the new function.
        SqlState::UNDEFINED_COLUMN,
    ];
    if again.contains(code) {
        return Failure::Again(refused(error));
    }
    let timed_out = [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE];
    let not_installed = [
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::UNDEFINED_TABLE,
    ];
    Failure::Final(match error.parsed_severity() {
        _ if timed_out.contains(code) => StoreError::TimedOut,
        _ if *code == SqlState::DATETIME_FIELD_OVERFLOW => StoreError::WrongTime,
        _ if not_installed.contains(code) => StoreError::Refused(format!(
            "{}; install sql/meter.sql, for instance by PostgresStore::install",
            error.message()
        )),
        // The server ends the session, perhaps while it commits.
        Some(Severity::Fatal | Severity::Panic) => StoreError::Disconnected(error.message().to_owned()),
        _ => refused(error),
    })
}

fn refused(error: &DbError) -> StoreError {
    StoreError::Refused(described(error))
}

/// Advice for a statement whose name the session does not have, or has for another statement.
const NO_NAMES: &str = "a pooler mixed up prepared statements: set max_prepared_statements of pgbouncer (1.21 or later), or do not call \
    PostgresStore::with_prepared_statements";

/// Codes of errors that a caller can mend, and advice.
const ADVICE: [(SqlState, &str); 9] = [
    (SqlState::INVALID_PASSWORD, "check the user and the password"),
    (
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        "check the user and the server's pg_hba.conf; if that file asks for TLS, use PostgresStore::connect_with_tls",
    ),
    (
        SqlState::T_R_SERIALIZATION_FAILURE,
        "set default_transaction_isolation to 'read committed' for the user",
    ),
    (SqlState::INVALID_CATALOG_NAME, "create the database, or name another"),
    (
        SqlState::UNDEFINED_COLUMN,
        "the functions are of an earlier sql/meter.sql than the tables: install the newest, for instance by PostgresStore::install",
    ),
    (
        SqlState::INSUFFICIENT_PRIVILEGE,
        "the user needs USAGE on schema meter, SELECT, INSERT and UPDATE (to sweep also DELETE) on its tables, and EXECUTE on its functions",
    ),
    (
        SqlState::READ_ONLY_SQL_TRANSACTION,
        "connect to the primary, in sessions that may write",
    ),
    // Of a replica, which has no unlogged tables.
    (SqlState::FEATURE_NOT_SUPPORTED, "connect to the primary"),
    (
        SqlState::TOO_MANY_CONNECTIONS,
        "lower the connections of the stores, or raise max_connections",
    ),
];

/// The message of an error of the server with its code, and advice if there is any.
fn described(error: &DbError) -> String {
    let (message, code) = (error.message(), error.code());
    let is_of_a_name = [SqlState::UNDEFINED_PSTATEMENT, SqlState::DUPLICATE_PSTATEMENT].contains(code)
        || error.routine() == Some("exec_bind_message"); // other parameters
    let advice = ADVICE.iter().find(|(of, _)| of == code).map(|(_, advice)| *advice);
    let advice = advice.or(is_of_a_name.then_some(NO_NAMES));
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    format!("{message} (SQLSTATE {}){advice}", code.code())
}

/// Returns the meaning of an error of the pool, which gave no connection: nothing was sent.
pub(crate) fn of_pool(error: PoolError) -> StoreError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => StoreError::Overloaded,
        PoolError::Backend(error) => match error.as_db_error() {
            Some(error) if is_of_the_settings(error.code()) => refused(error),
            Some(error) => StoreError::Unreachable(described(error)),
            None => StoreError::Unreachable(text(&error)),
        },
        error => StoreError::Unreachable(error.to_string()),
    }
}

/// Returns `true` if other settings of the connection are needed: another user, password or database, or TLS.
fn is_of_the_settings(code: &SqlState) -> bool {
    code.code().starts_with("28") || *code == SqlState::INVALID_CATALOG_NAME
}

/// The message of an error and of its cause.
fn text(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
