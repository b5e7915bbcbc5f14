//! The dialects of the formats: prefixes of collectors, orders of fields, and names that real programs use.

use crate::run::{file, report};
use meter_replay::input::{Collected, Options, Reader};

/// The requests and bad lines that are read from a file, with their keys.
fn read(content: &str) -> Result<(Vec<(i64, String)>, u64), String> {
    let source = std::io::Cursor::new(content.to_owned().into_bytes());
    let message = |error: meter_replay::Error| error.to_string();
    let mut reader = Reader::of(source, "input", &Options::default()).map_err(message)?;
    let mut collected = Collected::default();
    let mut requests = Vec::new();
    while let Some(event) = reader.next(&mut collected).map_err(message)? {
        let key = String::from_utf8_lossy(collected.keys.name(event.key)).into_owned();
        requests.push((event.time, key));
    }
    Ok((requests, collected.bad.count()))
}

#[test]
fn every_collector_may_prefix_every_format_of_lines() {
    const PREFIXES: [&str; 26] = [
        "",
        "May 20 00:00:18 web1 nginx: ",
        "<190>May 20 00:00:18 web1 nginx[812]: ",
        "<165>1 2024-05-20T00:00:18.003Z web1 nginx 812 - - ",
        r#"<165>1 2024-05-20T00:00:18.003Z web1 nginx 812 ID47 [a@32473 iut="3" b="App"] "#,
        "<165>1 2024-05-20T00:00:18.003Z web1 nginx - - - \u{feff}",
        "2024-05-20T00:00:18.123456+00:00 web1 nginx: ",
        "2024-05-20T00:00:18+0000 web1 nginx[812]: ",
        "Mon 2024-05-20 00:00:18 UTC web1 nginx[812]: ",
        "1716163218.123456 web1 nginx[812]: ",
        "[ 5024.688384] web1 nginx[812]: ",
        "May 20 00:00:18.123456 web1 nginx[812]: ",
        "web-1  | ",
        "web-1  | 2024-05-20T00:00:18.123456789Z ",
        "web.1.k2x7@node1    | ",
        "0|web  | ",
        "2024-05-20T00:00:18.123456789Z ",
        "2024-05-20T00:00:18.123456789Z stdout F ",
        "2024-05-20T00:00:18.123456789+02:00 stderr F ",
        "[pod/web-6d4b/nginx] ",
        "[pod/web-6d4b/nginx] 2024-05-20T00:00:18.1Z ",
        "web-6d4b nginx ",
        "2024-05-20T00:00:18.123000+00:00 ecs/web/0a1b ",
        r#"2024-05-20T00:00:18Z {app="web", job="x"} "#,
        "2024-05-20T00:00:18+00:00 nginx.access ",
        "2024-05-20T00:00:18.123456+00:00 app[web.1]: ",
    ];
    const LINES: [&str; 6] = [
        r#"203.0.113.7 - - [20/May/2024:00:00:18 +0000] "GET /a HTTP/1.1" 200 5 "-" "Mozilla/5.0 (KHTML, like Gecko)""#,
        r#"{"ts":1716163218,"remote_ip":"203.0.113.7","uri":"/a"}"#,
        r#"{ "time": "2024-05-20T00:00:18+00:00", "remote_addr": "203.0.113.7", "request": "GET /a HTTP/1.1" }"#,
        "time:20/May/2024:00:00:18 +0000\thost:203.0.113.7\treq:GET /a HTTP/1.1\tstatus:200",
        "time=2024-05-20T00:00:18Z level=info method=GET path=/a remote_addr=203.0.113.7:50000 status=200",
        r#"203.0.113.7:50000 [20/May/2024:00:00:18.000] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {} "GET /a HTTP/1.1""#,
    ];
    let expected = (1_716_163_218_000_000_000, "203.0.113.7".to_owned());
    for line in LINES {
        for prefix in PREFIXES {
            let content = format!("{prefix}{line}\n").repeat(3);
            assert_eq!(read(&content), Ok((vec![expected.clone(); 3], 0)), "{prefix}{line}");
        }
    }
}

#[test]
fn relatives_of_common_log_format_have_a_client() {
    for line in [
        "203.0.113.7 - - [20/May/2024 00:00:18] \"GET /a HTTP/1.1\" 200 -",
        "INFO:werkzeug:203.0.113.7 - - [20/May/2024 00:00:18] \"\u{1b}[37mGET /a HTTP/1.1\u{1b}[0m\" 200 -",
        "203.0.113.7 www.example.org - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl\"",
        "::ffff:203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl\"",
        "::ffff:203.0.113.7 - root@pam [20/05/2024:02:00:18 +0200] \"GET /a HTTP/1.1\" 200 5",
        // Granian, with its duration in milliseconds.
        "[2024-05-20 00:00:18 +0000] 203.0.113.7 - \"GET /a HTTP/1.1\" 200 12.345",
        "203.0.113.7 - - [20/May/2024:00:00:18 UTC] \"GET /a HTTP/1.1\" 200 5",
        "203.0.113.7 - - [20/May/2024:00:00:18] \"GET /a HTTP/1.1\" 200 5",
        "203.0.113.7:50000 - 0a1b-2c - - [2024/05/20 00:00:18] example.org GET - \"/a\" HTTP/1.1 \"curl\" 200 5 0.001",
        " [BACKEND][2024-05-20 00:00:18] 203.0.113.7:0 - \"GET /a HTTP/1.1\" 200",
        "203.0.113.7 - [203.0.113.7] - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/2.0\" 200 5 \"-\" \"curl\" 86 0.000 [x] [] - - - - 0a",
        "time=[20/May/2024:00:00:18 +0000] remote_addr=203.0.113.7 request=\"GET /a HTTP/1.1\" status=200",
        "[20/May/2024:00:00:18 +0000] www.example.org 203.0.113.7 0.227 \"GET /a HTTP/2.0\" 200 125 440 - curl",
        "ACCESS [2024-05-20T00:00:18.000Z] \"GET /a HTTP/1.1\" 200 - 0 5 1 1 \"203.0.113.7\" \"curl\" \"cc21\" \"x\" \"10.0.0.1:80\"",
        "2024-05-20T00:00:18+0000 [-] \"203.0.113.7\" - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl\"",
        "2024-05-20T00:00:18+0000 [203.0.113.7] - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl\"",
        "[20/May/2024:00:00:18 +0000] 200 - GET https example.org \"/a\" [Client 203.0.113.7] [Length 5] [Gzip -] \"curl\" \"-\"",
    ] {
        let (requests, bad) = read(&format!("{line}\n")).expect(line);
        assert_eq!(
            (requests, bad),
            (vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned())], 0),
            "{line}"
        );
    }
}

#[test]
fn requests_of_haproxy_are_found_among_messages() {
    let message =
        "203.0.113.9:51234 [20/May/2024:00:00:17.000] www/1: Connection closed during SSL handshake\n".repeat(4);
    let request = "203.0.113.7:50000 [20/May/2024:00:00:18.000] www static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"\n";
    let broken = request.replace("GET /a HTTP/1.1", "<BADREQ>");
    let expected = vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned()); 2];
    assert_eq!(read(&(message + request + &broken)), Ok((expected, 4)));
}

#[test]
fn ports_of_aws_follow_ipv6_addresses_without_brackets() {
    for (before, after) in [
        (
            "h2 2024-05-20T00:00:18.186641Z app/web/50 ",
            r#" 10.0.0.1:80 0.0 0.0 0.0 200 200 0 57 "GET https://example.org:443/a HTTP/2.0" "curl""#,
        ),
        (
            "2024-05-20T00:00:18.186641Z web ",
            r#" 10.0.0.1:80 0.1 0.1 0.1 200 200 0 29 "GET http://example.org:80/a HTTP/1.1" "curl""#,
        ),
        (
            "tls 2.0 2024-05-20T00:00:18 net/web/c6 g3d4 ",
            " 10.0.0.1:443 5 2 98 246",
        ),
    ] {
        for (client, key) in [
            ("2001:db8:1:2:3:4:5:6:50000", "2001:db8:1:2::/64"),
            // Its port could be a group of the address.
            ("2001:db8::2:3:4:5:8080", "2001:db8::/64"),
            ("203.0.113.7:443", "203.0.113.7"),
        ] {
            let (requests, bad) = read(&format!("{before}{client}{after}\n").repeat(2)).expect(before);
            let keys: Vec<&str> = requests.iter().map(|(_, key)| key.as_str()).collect();
            assert_eq!((keys, bad), (vec![key, key], 0), "{before}{client}");
        }
    }
}

#[test]
fn clients_of_load_balancers_may_lack_ports() {
    let before = "h2 2024-05-20T00:00:18.186641Z app/web/50 ";
    let after = r#" 10.0.0.1:80 0.0 0.0 0.0 200 200 0 57 "GET https://example.org:443/a HTTP/2.0" "curl""#;
    for (client, key) in [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::3", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:::443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::3]:443", "2001:db8:1:2::/64"),
        ("203.0.113.7", "203.0.113.7"),
        ("-", "-"),
    ] {
        let (requests, bad) = read(&format!("{before}{client}{after}\n").repeat(2)).expect(client);
        let keys: Vec<&str> = requests.iter().map(|(_, key)| key.as_str()).collect();
        assert_eq!((keys, bad), (vec![key, key], 0), "{client}");
    }
}

#[test]
fn virtual_host_may_be_an_address() {
    let line = |host: &str, client: &str| {
        format!("{host} {client} - - [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl\"\n")
    };
    let clients = |log: &str| {
        let (requests, _) = read(log).expect("a log");
        requests.into_iter().map(|(_, client)| client).collect::<Vec<_>>()
    };
    let named = line("example.org", "203.0.113.7") + &line("example.org", "203.0.113.8");
    let scanned = named + &line("192.0.2.1", "203.0.113.9");
    assert_eq!(clients(&scanned), ["203.0.113.7", "203.0.113.8", "203.0.113.9"]);
    // Without a name among the hosts, the first address is the client, and the second may be its proxy.
    assert_eq!(clients(&line("203.0.113.7", "10.0.0.1")), ["203.0.113.7"]);
}

#[test]
fn clients_by_name_may_precede_a_virtual_host() {
    for before in ["www.example.org - -", "intranet - jo", "- Jo Smith"] {
        let line = format!("pc17 {before} [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5\n");
        let expected = (vec![(1_716_163_218_000_000_000, "pc17".to_owned())], 0);
        assert_eq!(read(&line), Ok(expected), "{line}");
    }
}

/// As when a health check runs for a while before the first client.
#[test]
fn clients_that_come_late_are_not_the_host() {
    let line = |client: &str| format!("{{\"time\":1716163218,\"client_ip\":\"{client}\",\"host\":\"10.0.0.5\"}}\n");
    let (requests, bad) = read(&(line("").repeat(200) + &line("203.0.113.7"))).expect("a log");
    assert_eq!((requests.len(), requests[200].1.as_str(), bad), (201, "203.0.113.7", 0));
}

#[test]
fn usual_names_precede_those_with_other_marks() {
    let record =
        r#"{"timestamp":1716163218,"Start Time":1577836800,"Remote Addr":"10.0.0.1","ip_address":"203.0.113.7"}"#;
    let expected = (vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned())], 0);
    assert_eq!(read(&format!("{record}\n")), Ok(expected));
}

#[test]
fn finest_of_several_stamps_is_the_time() {
    for line in [
        // API Gateway of AWS, nginx, an export of Azure's portal.
        r#"{"ip":"203.0.113.7","requestTime":"20/May/2024:00:00:18 +0000","requestTimeEpoch":"1716163218250","status":"200"}"#,
        r#"{"time_local":"20/May/2024:00:00:18 +0000","msec":"1716163218.250","remote_addr":"203.0.113.7"}"#,
        r#"{"TimeGenerated [UTC]":"2024-05-20T00:00:18.25Z","CIp":"203.0.113.7"}"#,
    ] {
        let expected = (1_716_163_218_250_000_000, "203.0.113.7".to_owned());
        assert_eq!(read(&format!("{line}\n")), Ok((vec![expected], 0)), "{line}");
    }
}

#[test]
fn json_fields_have_the_names_of_real_programs() {
    for line in [
        r#"{"timestamp":"2024-05-20T00:00:18.000000+0000","event_type":"http","src_ip":"203.0.113.7","dest_ip":"10.0.0.1"}"#,
        r#"{"reqTimeSec":"1716163218","cliIP":"203.0.113.7","reqHost":"example.org","reqPath":"/a"}"#,
        r#"{"requestURI":"/api","sourceIPs":["203.0.113.7"],"requestReceivedTimestamp":"2024-05-20T00:00:18.000000Z"}"#,
        r#"{"version":"1.1","host":"web1","timestamp":1716163218,"_remote_addr":"203.0.113.7"}"#,
        r#"{"ts":1716163218000.0,"verb":"GET","srcIP":"203.0.113.7:50000"}"#,
        r#"{"level":"info","ts":"2024/05/20 00:00:18","request":{"remote_addr":"203.0.113.7:50000","uri":"/a"}}"#,
        r#"{"ts":1.716163218e9,"common_log":"203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5"}"#,
        r#"{"time":1716163218000,"req":{"method":"GET","remoteAddress":"::ffff:203.0.113.7"},"msg":"request completed"}"#,
        r#"{"timestamp":1716163218000,"httpRequest":{"clientIp":"203.0.113.7","uri":"/a"}}"#,
        r#"{"@timestamp":"2024-05-20T00:00:18Z","source":{"ip":"203.0.113.7"},"url":{"path":"/a"}}"#,
        r#"{"start_time":"2024-05-20T00:00:18.000Z","downstream_remote_address":"203.0.113.7:50000","x-forwarded-for":"198.51.100.9"}"#,
        r#"{"ts":1716163218.0,"id.orig_h":"203.0.113.7","id.orig_p":50000}"#,
        r#"{"timestamp(ms)":"1716163218000","c-ip":"203.0.113.7","cs-method":"GET"}"#,
        r#"{"time_start":"2024-05-20T00:00:18Z","fastly_client_ip":"203.0.113.7"}"#,
        r#"{"start":"1716163218.0","message":{"cliIP":"203.0.113.7","reqPath":"/a"}}"#,
        r#"{"client_received_start_timestamp":"1716163218000","client_ip":"203.0.113.7"}"#,
        r#"{"requestContext":{"http":{"sourceIp":"203.0.113.7"},"timeEpoch":1716163218000}}"#,
        r#"{"timereported":"2024-05-20T00:00:18+00:00","fromhost-ip":"203.0.113.7"}"#,
        r#"{"published":"2024-05-20T00:00:18.000Z","client":{"ipAddress":"203.0.113.7"}}"#,
        r#"{"@timestamp":1716163218000,"actor_ip":"203.0.113.7","action":"git.clone"}"#,
        r#"{"Timestamp":"1716163218000000000","Attributes":{"client.address":"203.0.113.7"}}"#,
        r#"{"time":"2024-05-20T00:00:18Z","visitor_ip":"203.0.113.7","http_path":"/a"}"#,
        r#"{"timestamp":1716163218000,"request_ip":"203.0.113.7"}"#,
        r#"{"ts":1716163218.0,"grpc.method":"C","peer.address":"203.0.113.7:50000"}"#,
        r#"2024-05-20T00:00:18Z INFO x {"request":{"start":0.25},"ip":"203.0.113.7"}"#,
        r#"{"timeUnixNano":"1716163218000000000","attributes":{"client.address":"203.0.113.7"}}"#,
        r#"{"Event":{"RayID":"1"},"EventTimestampMs":1716163218000,"ClientIP":"203.0.113.7"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","callerIpAddress":"203.0.113.7:50000"}"#,
        r#"{"timestamp":"2024-05-20T00:00:18Z","ip_source":"203.0.113.7"}"#,
        r#"2024-05-20_00:00:18.00000 {"msg":"a","remote_ip":"203.0.113.7"}"#,
        r#"{"ts":1716163218,"key":3,"client":"ios","remote":"origin","src":"203.0.113.7"}"#,
        r#"{"_index":"logs","_source":{"@timestamp":"2024-05-20T00:00:18Z","client":{"ip":"203.0.113.7"},"event":{"created":"2024-05-20T00:01:00Z"}}}"#,
        r#"{"ts":1716163218,"ip":"-","client":{"ip":"a"},"client_ip":"203.0.113.7"}"#,
        r#"{"when":"2024-05-20T00:00:18Z","created":1577836800,"ip":"203.0.113.7"}"#,
        r#"2024-05-20T00:00:18Z INFO x {"user":{"unixtime":1577836800},"ip":"203.0.113.7"}"#,
        r#"{"date":"2024-05-20","time":"00:00:18","createdAt":"2020-01-01T00:00:00Z","ip":"203.0.113.7"}"#,
        r#"{"CreationTime":"2024-05-20T00:00:18","ClientIP":"203.0.113.7"}"#,
        r#"{"timestamp":"2024-05-20T00:00:18,000+0000","origin.type":"rest","origin.address":"203.0.113.7:50000"}"#,
        r#"{"time":1716163218000,"dst_endpoint":{"ip":"10.0.0.1"},"device":{"ip":"10.0.0.9"},"src_endpoint":{"ip":"203.0.113.7"}}"#,
        r#"{"@timestamp":"2024-05-20T00:00:18Z","destination":{"address":"10.0.0.1"},"source":{"address":"203.0.113.7"}}"#,
        r#"{"time":"2024-05-20T00:00:18Z","server":{"ip":"10.0.0.1"},"Host":{"ip":"10.0.0.2"},"user":{"ip":"203.0.113.7"}}"#,
        r#"{"time":"2024-05-20T00:00:18Z","server":{"ip":"10.0.0.1"},"proxy":{"client_ip":"203.0.113.7"}}"#,
        r#"{"attackData":{"clientIP":"203.0.113.7"},"httpMessage":{"method":"GET","start":"1716163218"}}"#,
        r#"{"version":"1.1","host":"web1","timestamp":1716163218,"_src_ip":"203.0.113.7"}"#,
        r#"{"date_create":1716163218,"action":"user_login","context":{"ip_address":"203.0.113.7"}}"#,
        r#"{"data":{"clientAddr":"203.0.113.7:50000"},"time":"2024-05-20T00:00:18Z"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","level":"info","origin":"203.0.113.7","path":"/a"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","remote_addr":"127.0.0.1:0","remote_ip":"203.0.113.7","uri":"/a"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","remote-address":"203.0.113.7","req":{"method":"GET","url":"/a"}}"#,
        r#"{"time":"2024-05-20T00:00:18Z","properties":{"CIp":"203.0.113.7","CsUriStem":"/a"}}"#,
        r#"{"version":"1.1","host":"web1","timestamp":1716163218,"_client":"203.0.113.7"}"#,
        r#"{"ts":"2024-05-20T00:00:18Z","caller":"x","remote-addr":"203.0.113.7:50000"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","ip":"203.0.113.7","msg":"user=jo action=login result=ok"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","ip":"203.0.113.7","msg":"time=5 action=login result=ok"}"#,
        r#"{"time":"2024-05-20T00:00:18Z","ip":"203.0.113.7","message":"{\"a\":1,\"b\":2}"}"#,
        r#"{"time":1716163299,"event":"203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5"}"#,
        r#"{"preview":false,"result":{"_raw":"203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5"}}"#,
        r#"{"timestampInMs":1716163218000,"requestPath":"/a","clientIp":"203.0.113.7"}"#,
        r#"{"startedDateTime":"2024-05-20T00:00:18.000Z","time":50.1,"request":{"headers":[{"name":"a"}]},"clientIPAddress":"203.0.113.7"}"#,
        r#"{"timestamp":1716163218,"ip_address":"","src_host":"203.0.113.7","dst_host":"10.0.0.1"}"#,
        r#"{"timestamp":1716163218,"srcip":"","client":{"ip":"203.0.113.7"}}"#,
    ] {
        let (requests, bad) = read(&format!("{line}\n")).expect(line);
        assert_eq!(
            (requests, bad),
            (vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned())], 0),
            "{line}"
        );
    }
    // The journal writes a message with a control character as its bytes.
    let message: Vec<String> = b"203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET /\x1b HTTP/1.1\" 200 5"
        .iter()
        .map(ToString::to_string)
        .collect();
    let line = format!(
        "{{\"__REALTIME_TIMESTAMP\":\"1716163299000000\",\"MESSAGE\":[{}]}}\n",
        message.join(",")
    );
    assert_eq!(
        read(&line),
        Ok((vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned())], 0))
    );
}

#[test]
fn offset_may_have_its_own_label() {
    let expected = Ok((vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned())], 0));
    for line in [
        r#"date=2024-05-19 time=19:00:18 devname="a" tz="-0500" srcip=203.0.113.7"#,
        r#"id=firewall time="2024-05-20 02:00:18" tz=+0200 pri=5 src=203.0.113.7"#,
        r#"time="2024-05-20T00:00:18Z" tz=+0200 pri=5 src=203.0.113.7"#,
        r#"time=1716163218 tz=+0200 pri=5 src=203.0.113.7"#,
        r#"time="2024-05-20 00:00:18" tz=CET pri=5 src=203.0.113.7"#,
    ] {
        assert_eq!(read(&format!("{line}\n")), expected, "{line}");
    }
}

#[test]
fn offset_of_clients_is_no_part_of_time() {
    let line = |second: u32, zone: &str| {
        format!("{{\"time\":\"2024-05-20 00:00:{second}\",\"ip\":\"203.0.113.7\",\"timezone\":\"{zone}\"}}\n")
    };
    let expected = |times: [i64; 2]| {
        Ok((
            times
                .map(|time| (time * 1_000_000_000, "203.0.113.7".to_owned()))
                .to_vec(),
            0,
        ))
    };
    let of_clients = line(18, "-0500") + &line(19, "+0200");
    assert_eq!(read(&of_clients), expected([1_716_163_218, 1_716_163_219]));
    let of_server = line(18, "-0500") + &line(19, "-0500");
    assert_eq!(read(&of_server), expected([1_716_181_218, 1_716_181_219]));
}

#[test]
fn masked_addresses_are_clients() {
    for ip in ["203.0.113.xxx", "2001:db8::*", "f7c3bc1d808e"] {
        let line = format!("{{\"ts\":1716163218,\"ip\":\"{ip}\",\"remote_addr\":\"127.0.0.1\"}}\n");
        assert_eq!(read(&line), Ok((vec![(1_716_163_218_000_000_000, ip.to_owned())], 0)));
    }
}

#[test]
fn objects_in_lists_are_read() {
    let object = r#"{"ts":1716163218,"remote_ip":"203.0.113.7"}"#;
    let expected = (vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned()); 2], 0);
    for list in [
        format!("{object},\n{object}\n"),
        format!("{object} ,\n{object}\n"),
        format!("[\n{object}\n,\n{object}\n]\n"),
        format!("[\n{object},\n{object}\n]\n"),
        format!("[\n  {object},\n  {object}]\n"),
    ] {
        assert_eq!(read(&list), Ok(expected.clone()), "{list}");
    }
}

#[test]
fn headers_in_a_list_are_found_by_name() {
    let line = |second: u32, headers: &str| {
        format!(
            "{{\"timestamp\":171616320{second}000,\"httpRequest\":{{\"clientIp\":\"203.0.113.7\",\"headers\":[{headers}]}}}}\n"
        )
    };
    let header = |name: &str, value: &str| format!("{{\"name\":\"{name}\",\"value\":\"{value}\"}}");
    let lines = [
        line(
            1,
            &format!("{},{}", header("Host", "a.example"), header("X-Api-Key", "k1")),
        ),
        line(
            2,
            &format!("{},{}", header("x-api-key", "k1"), header("X-Api-Key", "k2")),
        ),
        line(3, &header("Host", "b.example")),
    ];
    let log = file("waf.json", lines.concat());
    let json = |by: &str| {
        let printed = report(&[
            "--limit",
            "1/h",
            "--by",
            by,
            "--max-bad",
            "50",
            "--format",
            "json",
            &log,
        ]);
        let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        (json["traffic"]["requests"].clone(), json["traffic"]["keys"].clone())
    };
    assert_eq!(json("httpRequest.headers.X-Api-Key"), (2.into(), 1.into()));
    assert_eq!(json("host"), (2.into(), 2.into()));
    assert_eq!(json("ip"), (3.into(), 1.into()));
    // A field is preferred.
    let tagged = r#"{"time":1716163201,"ip":"203.0.113.7","a":[{"key":"host","value":"node"}],"q":{"host":"shop"}}"#;
    let log = file("tagged.json", format!("{tagged}\n").repeat(3));
    assert!(report(&["--limit", "1/h", "--by", "host", &log]).contains("shop"));
}

#[test]
fn owner_of_a_bucket_may_be_short() {
    // As stores that speak the protocol of S3 write it.
    let line = "79a59df9 bucket [20/May/2024:00:00:18 +0000] 203.0.113.7 - 3E57427F3EXAMPLE REST.GET.OBJECT a.txt \"GET /bucket/a.txt HTTP/1.1\" 200 - 5 5 9 8 \"-\" \"curl\" -\n";
    let log = file("s3.log", line.repeat(3));
    assert!(report(&["--limit", "1/s", &log]).contains("Amazon S3 server access log"));
}

#[test]
fn lines_in_a_column_are_read() {
    let entry = "203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"\"GET /a HTTP/1.1\"\" 200 5";
    let object = "{\"\"ts\"\":1716163218,\"\"remote_ip\"\":\"\"203.0.113.7\"\"}";
    let expected = (vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned()); 2], 0);
    for line in [entry, object] {
        for table in [
            format!("@timestamp,@message\n2024-05-20 00:00:19.123,\"{line}\"\n2024-05-20 00:00:19.124,\"{line}\"\n"),
            format!("\"Line\",\"Time\"\n\"{line}\",1716163219000\n\"{line}\",1716163219000\n"),
            // Each line with its line feed.
            format!(
                "@timestamp,@message,@log\n2024-05-20 00:00:19,\"{line}\n\",a\n2024-05-20 00:00:19,\"{line}\n\",a\n"
            ),
        ] {
            assert_eq!(read(&table), Ok(expected.clone()), "{table}");
        }
    }
    for before in ["sep=,\n", "# Exported\n# today\n# by me\n"] {
        let table = format!("{before}time,message\n1716163219,\"{entry}\"\n1716163219,\"{entry}\"\n");
        assert_eq!(read(&table), Ok(expected.clone()), "{table}");
    }
    // A table that names its clients is read as it is.
    let object = object.replace("\"\"", "\"");
    let log = file(
        "hash.tsv",
        format!("# Exported\n#time\tip\tmessage\n1716163218\t192.0.2.1\t{object}\n"),
    );
    assert!(report(&["--limit", "1/s", "--by", "ip", &log]).contains("hash.tsv as table"));
    let named = "time,ip,message\n1716163218,203.0.113.7,x\n1716163218,203.0.113.7,\n";
    let log = file("named.csv", named);
    assert!(report(&["--limit", "1/s", "--by", "ip", &log]).contains("named.csv as table"));
    let short = format!("time,message\n1716163219,\"{entry}\"\n1716163219\n1716163219,\"{entry}\"\n");
    assert_eq!(read(&short).map(|(requests, bad)| (requests.len(), bad)), Ok((2, 1)));
}

#[test]
fn date_and_time_may_be_apart() {
    let expected = |day: i64, clients: &[&str]| {
        let time = (1_716_163_218 + day * 86_400) * 1_000_000_000;
        clients
            .iter()
            .map(|client| (time, (*client).to_owned()))
            .collect::<Vec<_>>()
    };
    // Older servers of Microsoft write the date above the records.
    let dated = "#Date: 2024-05-20 00:00:01\n#Fields: time c-ip cs-method\n00:00:18 203.0.113.7 GET\n\
                 #Date: 2024-05-21 00:00:01\n#Fields: time c-ip cs-method\n00:00:18 203.0.113.8 GET\n\
                 #Date: 2024-05-22 00:00:01\n#Fields: date time c-ip\n2024-05-22 00:00:18 203.0.113.9\n";
    let all = [("203.0.113.7", 0), ("203.0.113.8", 1), ("203.0.113.9", 2)];
    let all = all.iter().flat_map(|&(client, day)| expected(day, &[client]));
    assert_eq!(read(dated), Ok((all.collect(), 0)));
    let nights = "#Date: 20-May-2024 00:00:00\n#Fields: time c-ip\n00:00:18 203.0.113.7\n23:59:59 203.0.113.7\n00:00:18 203.0.113.8\n";
    let (requests, bad) = read(nights).expect("a log of two days");
    assert_eq!(
        (requests[2].clone(), bad),
        (expected(1, &["203.0.113.8"])[0].clone(), 0)
    );
    for zone in ["local", "UTC"] {
        let advanced = format!("#Fields: date-{zone} time-{zone} c-ip\n2024-05-20 00:00:18.000 203.0.113.7\n");
        assert_eq!(read(&advanced), Ok((expected(0, &["203.0.113.7"]), 0)), "{zone}");
    }
}

#[test]
fn labels_of_events_and_audits_are_read() {
    for line in [
        "CEF:0|V|WAF|1|1|a rule|3|src=203.0.113.7 rt=May 20 2024 00:00:18 request=/a",
        "<134>May 20 00:00:19 fw CEF:0|V|WAF|1|1|a rule|3|msg=a message rt=May 20 2024 02:00:18 CEST src=203.0.113.7",
        "2024-05-20 00:00:18,000 INFO FSNamesystem.audit: allowed=true ugi=jo ip=/203.0.113.7 cmd=open src=/a",
        "LEEF:1.0|V|P|1|a|src=203.0.113.7\tdevTime=May 20 2024 00:00:18\tdst=10.0.0.1",
    ] {
        let expected = (vec![(1_716_163_218_000_000_000, "203.0.113.7".to_owned())], 0);
        assert_eq!(read(&format!("{line}\n")), Ok(expected), "{line}");
    }
}

#[test]
fn samples_and_missing_keys_are_reported() {
    let noted = |name: &str, content: &str, arguments: &[&str], notice: &str| {
        let path = file(name, content);
        let report = report(&[&["--limit", "1/min", &path], arguments].concat());
        report.split_whitespace().collect::<Vec<_>>().join(" ").contains(notice)
    };
    let samples = "metric_name,timestamp,metric_value,name\nvus,1716163218,1.0,\nhttp_reqs,1716163218,1.0,/a\n";
    let metric = "(--only metric_name=http_reqs replays the requests)";
    assert!(noted("k6.csv", samples, &[], metric));
    let only = ["--only", "metric_name=http_reqs"];
    assert!(!noted("k6.csv", samples, &only, "sample of a metric"));
    let samples = r#"{"type":"Point","metric":"http_reqs","data":{"time":"2024-05-20T00:00:18Z","value":1}}"#;
    let metric = "(--only metric=http_reqs replays the requests)";
    assert!(noted("k6.json", samples, &["--by", "all"], metric));
    let stages = r#"{"kind":"Event","auditID":"1","stage":"RequestReceived","sourceIPs":["203.0.113.7"],"requestReceivedTimestamp":"2024-05-20T00:00:18.5Z"}"#;
    let stage = "may have several (--only stage=ResponseComplete replays the requests)";
    assert!(noted("stages.json", stages, &[], stage));
    let local = "every client has a private or local address";
    for (client, is_local) in [
        ("10.0.0.1", true),
        ("::1", true),
        ("fd00::1", true),
        ("unix:", true),
        ("@", true),
        ("203.0.113.7", false),
        ("2001:db8::1", false),
    ] {
        let line = format!("{client} - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5\n");
        assert_eq!(noted("local.log", &line, &[], local), is_local, "{client}");
    }
    let missing = "some requests have no `ip` (empty or -): they share one meter";
    for client in ["", "-"] {
        let table = format!("time,ip\n1716163218,203.0.113.7\n1716163218,{client}\n");
        assert!(noted("clients.csv", &table, &["--by", "ip"], missing), "{client}");
    }
    for header in ["Event Time,Client IP", "event-time,Client_Ip"] {
        let table = format!("{header}\n1716163218,203.0.113.7\n1716163218,\n");
        assert!(noted("words.csv", &table, &["--by", "ip"], missing), "{header}");
    }
    assert!(!noted(
        "all.csv",
        "time,ip\n1716163218,203.0.113.7\n",
        &["--by", "ip"],
        missing
    ));
}

#[test]
fn tab_separated_table_may_be_quoted() {
    let table = "\"time\"\t\"ip\"\t\"a\"\n\"2024-05-20 00:00:18\"\t\"203.0.113.7\"\t\"b\tc\"\n";
    let options = Options {
        by: Some(meter_replay::by::By::Ip),
        ..Options::default()
    };
    let mut reader = Reader::of(std::io::Cursor::new(table), "input", &options).expect("a table");
    let mut collected = Collected::default();
    let event = reader.next(&mut collected).expect("a row").expect("a request");
    assert_eq!(collected.keys.name(event.key), b"203.0.113.7");
    assert_eq!((event.time, collected.bad.count()), (1_716_163_218_000_000_000, 0));
}

#[test]
fn prefix_of_a_copied_line_is_no_key() {
    for line in [
        "2024-05-20 00:00:18.123,\"203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"\"GET /a HTTP/1.1\"\" 200 5\"",
        "at: [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5",
        "2024-05-20 x [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5",
        "2024-05-20T00:00:19.404Z info envoy[2527] [Originator@6876 sub=Default] [2024-05-20T00:00:18.450Z] \"GET /a HTTP/1.1\" 200 - 0",
    ] {
        match read(&format!("{line}\n")) {
            Ok((requests, _)) => assert_eq!(requests, [], "{line}"),
            Err(reason) => assert!(reason.contains("without a header"), "{reason}"),
        }
    }
}
