//! The usual names that servers and exporters give to the fields a meter needs, the likeliest first.

use super::duration::Took;
use crate::by::By;

/// The time of a request. A start comes before an end, and a finer stamp before a coarser one.
pub(super) const TIME: &[&str] = &[
    "StartUTC",
    "start_time",
    "time",
    "timestamp",
    "@timestamp",
    "datetime",
    "date_time",
    "ts",
    "msec",
    "time_iso8601",
    "time_local",
    "_time",
    "date",
    "eventTime",
    "event_time",
    "EdgeStartTimestamp",
    "requestTimeEpoch",
    "requestTime",
    "created_at",
    "date_create",
    "started_at",
    "t",
    "__REALTIME_TIMESTAMP",
    "reqTimeSec",
    "requestReceivedTimestamp",
    "startTime",
    "time_micros",
    "time_msec",
    "date-time",
    "log_time",
    "logtime",
    "asctime",
    "@t",
    "instant.epochSecond",
    "frame.time_epoch",
    "frame.time",
    "time_start",
    "timestamp(ms)",
    "client_received_start_timestamp",
    "httpMessage.start",
    "requestContext.timeEpoch",
    "timereported",
    "timeUnixNano",
    "EventTimestampMs",
    "x-timestamp",
    "published",
    "start",
    "rt",
    "devTime",
    "activityDateTime",
    "eventTimestamp",
    "event_timestamp",
    "occurred_at",
    "received_at",
    "TimeGenerated",
    "TimeGenerated [UTC]",
    "timestamp [UTC]",
    "TimeCreated",
    "UtcTime",
    "timestamp_ms",
    "timestampMs",
    "timestampInMs",
    "ts_ms",
    "time_ms",
    "start_timestamp",
    "startTimestamp",
    "request_timestamp",
    "unixtime",
    "unix_time",
    "epoch",
    "startedDateTime",
    "data.time",
    // The documents of Elasticsearch, as elasticdump writes them.
    "_source.@timestamp",
    "_source.timestamp",
];

/// Names of the time that are often those of an older record, such as the client's account: only if no other time is there.
pub(super) const TIME_OF_RECORD: [&str; 4] = ["createdAt", "created", "CreationTime", "createdDateTime"];

/// The offset of a time from UTC, such as `+0200`, in a column of its own.
pub(super) const OFFSET: [&str; 3] = ["tz", "timezone", "time_zone"];

/// A date and a time of day in columns of their own. The second and third pair are those of IIS Advanced Logging.
pub(super) const DATE_AND_TIME: [[&str; 2]; 3] =
    [["date", "time"], ["date-UTC", "time-UTC"], ["date-local", "time-local"]];

const IP: &[&str] = &[
    "ip",
    "client_ip",
    "clientip",
    "c-ip",
    "remote_ip",
    "remote_addr",
    "request.client_ip",
    "request.remote_ip",
    "ClientHost",
    "ClientIP",
    "id.orig_h",
    "downstream_remote_address",
    "downstream_remote_address_without_port",
    "httpRequest.remoteIp",
    "requestContext.identity.sourceIp",
    "sourceIPAddress",
    "source.ip",
    "source.address",
    "src_endpoint.ip",
    "principal.ip.0",
    "client.ip",
    "client.addr",
    "clientIp",
    "remoteAddr",
    "remote_address",
    "remoteAddress",
    "remote-address",
    "remote-addr",
    "remoteIP",
    "remotehost",
    "remote",
    "client",
    "client-ip",
    "client_addr",
    "clientAddr",
    "client_address",
    "clientAddress",
    "c_ip",
    "CIp",
    "cs-ip",
    "src_ip",
    "srcip",
    "src-ip",
    "srcaddr",
    "src",
    "ip.src",
    "cliIP",
    "_remote_addr",
    "_remote_ip",
    "_client_ip",
    "_client",
    "_src_ip",
    "real_ip",
    "user_ip",
    "sourceIPs.0",
    "fastly_client_ip",
    "client.address",
    "client.ipAddress",
    "peer.address",
    "requester_ip_address",
    "actor_ip",
    "remote-endpoint",
    "request_ip",
    "visitor_ip",
    "ipAddress",
    "remip",
    "rhost",
    "sourceIp",
    "origin.address",
    "origin_address",
    "fromhost-ip",
    "fwd",
    "source_ip",
    "sourceIpPort",
    "IP.source",
    "source_address",
    "source-address",
    "sourceAddress",
    "src_addr",
    "source_addr",
    "saddr",
    "ip_src",
    "ip_source",
    "ip_address",
    "ip_addr",
    "ipaddr",
    "client_ip_address",
    "clientIpAddress",
    "remote_ip_address",
    "RemoteIpAddress",
    "callerIpAddress",
    "callerIp",
    "ActorIpAddress",
    "ActorIP",
    "userIp",
    "x_real_ip",
    "x-real-ip",
    "http_x_real_ip",
    "cf-connecting-ip",
    "cf_connecting_ip",
    "true-client-ip",
    "true_client_ip",
    "fly-client-ip",
    "fly_client_ip",
    "peer_ip",
    "peer_addr",
    "origin",
    "from",
    "src_host",
    "key",
    "h",
    "a",
];

/// The names of a client that often belong to other things, such as a program: only if a value is an address.
pub(super) const NOT_ONLY_CLIENTS: [&str; 6] = ["key", "remote", "src", "origin", "from", "src_host"];

/// The usual names of a client that are also those of a server: only if the values are addresses.
pub(super) const IP_IF_ADDRESS: &[&str] = &["host", "remote_host", "Source", "hostname"];

/// The parts of a path whose address is that of a server.
const SERVERS: [&str; 12] = [
    "dst",
    "dest",
    "destination",
    "dst_endpoint",
    "server",
    "host",
    "target",
    "upstream",
    "backend",
    "proxy",
    "observer",
    "agent",
];

/// Returns whether the address at this path is that of a server, such as `destination.ip`. The address at `proxy.client_ip` is that of a client.
pub(super) fn is_of_server(path: &[u8]) -> bool {
    let is_server = |part: &[u8]| {
        SERVERS
            .iter()
            .any(|server| part.eq_ignore_ascii_case(server.as_bytes()))
    };
    let mut parts = path.rsplit(|byte| *byte == b'.');
    let last = parts.next().unwrap_or_default().to_ascii_lowercase();
    (last.starts_with(b"ip") || last.starts_with(b"addr")) && parts.any(is_server)
}

const XFF: &[&str] = &[
    "xff",
    "x_forwarded_for",
    "http_x_forwarded_for",
    "X-Forwarded-For",
    "cs(X-Forwarded-For)",
    "request.headers.X-Forwarded-For.0",
    "request_X-Forwarded-For",
    "forwarded_for",
    "forwardedfor",
    "fwd",
    "proxy_add_x_forwarded_for",
    "http_forwarded",
    "forwarded",
];

const HOST: &[&str] = &[
    "vhost",
    "host",
    "request.host",
    "RequestHost",
    "cs-host",
    "cs(Host)",
    "x-host-header",
    "http_host",
    "server_name",
    "authority",
    ":authority",
    "reqHost",
    "v",
    "domain_name",
];

const PATH: &[&str] = &[
    "path",
    "uri",
    "request_uri",
    "request.uri",
    "cs-uri-stem",
    "RequestPath",
    "request_path",
    "url",
    "requestUrl",
    "request_url",
    "httpRequest.requestUrl",
    "ClientRequestURI",
    "url.path",
    "x-envoy-origin-path",
    "reqPath",
    "resourcePath",
    "requestURI",
    "U",
];

const STATUS: &[&str] = &[
    "status",
    "status_code",
    "sc-status",
    "response_code",
    "DownstreamStatus",
    "statusCode",
    "elb_status_code",
    "httpRequest.status",
    "EdgeResponseStatus",
    "http.response.status_code",
    "httpStatus",
    "httpStatusCode",
    "response_status",
    "statuscode",
    "responseCode",
    "response",
    "code",
    "s",
];

const METHOD: &[&str] = &[
    "method",
    "request_method",
    "request.method",
    "cs-method",
    "RequestMethod",
    "httpRequest.requestMethod",
    "ClientRequestMethod",
    "http.request.method",
    "http_method",
    "httpMethod",
    "reqMethod",
    "request_verb",
    "verb",
    "m",
];

/// The first line of a request: `GET /path HTTP/1.1`, which contains path and method.
pub(super) const REQUEST: &[&str] = &["request", "request_line", "cs-request", "req", "r"];

/// The duration of a request, and its unit.
pub(super) const DURATION: &[(&str, Took)] = &[
    ("request_time", Took::Seconds),
    ("Duration", Took::Nanoseconds),
    ("duration", Took::Seconds),
    ("time-taken", Took::Milliseconds),
    ("duration_ms", Took::Milliseconds),
    ("request_processing_time", Took::Seconds),
    ("reqtime", Took::Seconds),
    ("reqtime_microsec", Took::Microseconds),
    ("responseTime", Took::Milliseconds),
    ("service", Took::Milliseconds),
    ("D", Took::Microseconds),
    ("T", Took::Seconds),
];

/// Returns the usual names for a part of a key; none for a column, which has its own.
pub(super) fn of(part: &By) -> &'static [&'static str] {
    match part {
        By::Ip => IP,
        By::Xff => XFF,
        By::Host => HOST,
        By::Path => PATH,
        By::Status => STATUS,
        By::Method => METHOD,
        By::All | By::Column(_) | By::Each(_) => &[],
    }
}

/// Returns why a request has several lines, and the condition that selects one of them. `None` if these are not the names of k6 or of the audit log of
/// Kubernetes.
pub(super) fn of_several_lines(names: &[Vec<u8>]) -> Option<[&'static str; 2]> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted.as_bytes());
    let metric = "each line is a sample of a metric, and a request has several";
    if has("metric_name") && has("metric_value") {
        Some([metric, "metric_name=http_reqs"])
    } else if has("metric") && has("data.value") {
        Some([metric, "metric=http_reqs"])
    } else {
        let stage = "each line is a stage of a request, and a request may have several";
        (has("auditID") && has("stage")).then_some([stage, "stage=ResponseComplete"])
    }
}

/// Returns the place of `wanted` among names: the exact name, or otherwise the first that differs only in case. Without one, the first that also differs
/// in the marks between its words, as `Client IP`. A single letter is the name of a directive, whose case matters.
pub(super) fn place<T: AsRef<[u8]>>(names: &[T], wanted: &str) -> Option<usize> {
    place_in_any_case(names, wanted).or_else(|| place_by_words(names, wanted))
}

fn place_in_any_case<T: AsRef<[u8]>>(names: &[T], wanted: &str) -> Option<usize> {
    let at = |same: fn(&[u8], &[u8]) -> bool| {
        names
            .iter()
            .position(|name| same(name.as_ref().trim_ascii(), wanted.as_bytes()))
    };
    let any_case = || (wanted.len() > 1).then(|| at(<[u8]>::eq_ignore_ascii_case)).flatten();
    at(|name, wanted| name == wanted).or_else(any_case)
}

fn place_by_words<T: AsRef<[u8]>>(names: &[T], wanted: &str) -> Option<usize> {
    let is_mark = |byte: u8| matches!(byte, b' ' | b'_' | b'-');
    let is_same = |name: &[u8]| {
        let mut pairs = name.iter().zip(wanted.as_bytes());
        name.len() == wanted.len()
            && name.len() > 1
            && pairs.all(|(&one, &other)| one.eq_ignore_ascii_case(&other) || is_mark(one) && is_mark(other))
    };
    names.iter().position(|name| is_same(name.as_ref().trim_ascii()))
}

/// Returns the places of several names, the likeliest first. Names that differ in the marks between their words come last. Beside a column `timestamp`,
/// `Start Time` may be the time of something else.
pub(super) fn places<'a, T: AsRef<[u8]>>(names: &'a [T], wanted: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let strict = wanted.iter().filter_map(move |wanted| place_in_any_case(names, wanted));
    strict.chain(wanted.iter().filter_map(move |wanted| place_by_words(names, wanted)))
}

/// Returns the place of the first of several names that exists.
pub(super) fn place_of_any<T: AsRef<[u8]>>(names: &[T], wanted: &[&str]) -> Option<usize> {
    places(names, wanted).next()
}

/// Returns the places of names that end with one of those wanted, the likeliest first: `properties.clientIp`.
pub(super) fn places_by_end<'a, T: AsRef<[u8]>>(
    names: &'a [T],
    wanted: &'a [&str],
) -> impl Iterator<Item = usize> + 'a {
    // A single letter is the name of a directive, not part of a path.
    let wanted = wanted.iter().filter(|wanted| wanted.len() > 1);
    wanted.flat_map(move |wanted| {
        let is_wanted = move |(_, name): &(usize, &'a T)| {
            let (path, last) = name.as_ref().split_at(name.as_ref().len().saturating_sub(wanted.len()));
            last.eq_ignore_ascii_case(wanted.as_bytes()) && path.last().is_none_or(|&byte| byte == b'.')
        };
        names.iter().enumerate().filter(is_wanted).map(|(at, _)| at)
    })
}
