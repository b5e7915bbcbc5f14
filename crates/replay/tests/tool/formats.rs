//! The formats that are read, each by an example; the table of formats in the README is made of these.
//!
//! `UPDATE_README=1 cargo test -p ratelimit_meter_replay --test tool formats` writes the table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::run::{file, meter_replay, text};
use meter_replay::input::{Collected, Options, Reader};
use serde_json::Value;

/// A format, and one line of it for `CLIENT` at second `SS` of 2024-05-20 00:00.
struct FormatSample {
    /// As the README calls it.
    input: &'static str,
    /// The mark of the format, or the option that it needs.
    known_by: &'static str,
    /// All before the first line.
    head: &'static str,
    line: &'static str,
    arguments: &'static [&'static str],
}

const fn format(
    input: &'static str,
    known_by: &'static str,
    head: &'static str,
    line: &'static str,
    arguments: &'static [&'static str],
) -> FormatSample {
    FormatSample {
        input,
        known_by,
        head,
        line,
        arguments,
    }
}

/// Unix seconds of 2024-05-20 00:00:SS, without the last digit of `SS`.
const FORMATS: &[FormatSample] = &[
    format(
        "Common Log Format",
        "its lines",
        "",
        r#"CLIENT - - [20/May/2024:00:00:0S +0000] "GET /a HTTP/1.1" 200 5"#,
        &[],
    ),
    format(
        "Combined Log Format (nginx, Apache)",
        "its lines; more fields may follow",
        "",
        r#"CLIENT - - [20/May/2024:00:00:0S +0000] "GET /a?b HTTP/1.1" 200 5 "-" "Mozilla/5.0 (KHTML, like Gecko)" "-" 0.005"#,
        &[],
    ),
    format(
        "the same with a virtual host first (Apache `vhost_combined`)",
        "its lines",
        "",
        r#"www.example.org:443 CLIENT - jo doe [20/May/2024:00:00:0S +0000] "GET /a HTTP/1.1" 200 5 "-" "curl""#,
        &[],
    ),
    format(
        "the same with a fraction or ISO 8601 in the brackets (Tomcat, Apache)",
        "its lines",
        "",
        r#"CLIENT - - [2024-05-20T00:00:0S.250+00:00] "GET /a HTTP/1.1" - -"#,
        &[],
    ),
    format(
        "the same from ingress-nginx",
        "its lines",
        "",
        r#"CLIENT - - [20/May/2024:00:00:0S +0000] "GET /a HTTP/2.0" 200 5 "-" "curl/8.5.0" 86 0.005 [default-web-80] [] 10.0.0.9:80 5 0.004 200 0a1b2c"#,
        &[],
    ),
    format(
        "the same behind syslog (RFC 3164, 5424) or the journal",
        "its lines",
        "",
        r#"<190>May 20 00:00:0S 10.0.0.5 nginx[812]: CLIENT - - [20/May/2024:00:00:0S +0000] "GET /a HTTP/1.1" 200 5 "-" "curl""#,
        &[],
    ),
    format(
        "the same from a container: CRI, Docker Compose, kubectl",
        "its lines",
        "",
        r#"2024-05-20T00:00:0S.123456789Z stdout F CLIENT - - [20/May/2024:00:00:0S +0000] "GET /a HTTP/1.1" 200 5 "-" "curl""#,
        &[],
    ),
    format(
        "JSON lines of Caddy",
        "the names of their fields",
        "",
        r#"{"level":"info","ts":1716163200.S,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.0.0.1","client_ip":"CLIENT","method":"GET","host":"example.org","uri":"/a"},"duration":0.0015,"status":200}"#,
        &[],
    ),
    format(
        "JSON lines of Traefik",
        "the names of their fields",
        "",
        r#"{"ClientAddr":"CLIENT:50000","ClientHost":"CLIENT","Duration":1500000,"DownstreamStatus":200,"RequestMethod":"GET","RequestPath":"/a","StartUTC":"2024-05-20T00:00:0S.123456789Z","time":"2024-05-20T00:00:0SZ"}"#,
        &[],
    ),
    format(
        "JSON lines of nginx (`escape=json`)",
        "the names of their fields",
        "",
        r#"{"time_local":"20/May/2024:00:00:0S +0000","remote_addr":"CLIENT","request":"GET /a HTTP/1.1","status":"200","request_time":"0.005","http_x_forwarded_for":""}"#,
        &[],
    ),
    format(
        "JSON lines of Envoy",
        "the names of their fields",
        "",
        r#"{"start_time":"2024-05-20T00:00:0S.123Z","method":"GET","path":"/a","response_code":200,"duration":5,"downstream_remote_address":"CLIENT:50000","x_forwarded_for":null}"#,
        &[],
    ),
    format(
        "JSON lines of Google Cloud, Azure, Cloudflare, Elastic",
        "the names of their fields",
        "",
        r#"{"time":"2024-05-20T00:00:0SZ","properties":{"clientIp":"CLIENT","requestUri":"https://example.org/a"}}"#,
        &[],
    ),
    format(
        "JSON lines of any other program",
        "`--time` and `--key`, with the paths to their fields",
        "",
        r#"{"at":{"began":"Mon May 20 00:00:0S 2024 +0000"},"who":{"id":["CLIENT"]}}"#,
        &["--time", "at.began", "--key", "who.id.0"],
    ),
    format(
        "Docker's `json-file`, a log line in each object",
        "the field `log`",
        "",
        r#"{"log":"CLIENT - - [20/May/2024:00:00:0S +0000] \"GET /a HTTP/1.1\" 200 5\n","stream":"stdout","time":"2024-05-20T00:00:0SZ"}"#,
        &[],
    ),
    format(
        "the journal (`journalctl -o json`)",
        "the field `MESSAGE`",
        "",
        r#"{"__REALTIME_TIMESTAMP":"171616320S000000","_HOSTNAME":"web1","MESSAGE":"CLIENT - - [20/May/2024:00:00:0S +0000] \"GET /a HTTP/1.1\" 200 5"}"#,
        &[],
    ),
    format(
        "CloudWatch, a log line or JSON in each event",
        "the field `message`",
        "",
        r#"{"timestamp":171616320S000,"message":"{\"ts\":171616320S,\"remote_ip\":\"CLIENT\"}","ingestionTime":1716163299000}"#,
        &[],
    ),
    format(
        "Loki (`logcli -o jsonl`)",
        "the field `line`",
        "",
        r#"{"labels":{"app":"web"},"line":"CLIENT - - [20/May/2024:00:00:0S +0000] \"GET /a HTTP/1.1\" 200 5","timestamp":"2024-05-20T00:00:0S.1Z"}"#,
        &[],
    ),
    format(
        "the journal's export format (`journalctl -o export`)",
        "`__CURSOR=`",
        "",
        "__CURSOR=s=1;i=S\n_HOSTNAME=web1\nMESSAGE=CLIENT - - [20/May/2024:00:00:0S +0000] \"GET /a HTTP/1.1\" 200 5\n",
        &[],
    ),
    format(
        "JSON lines behind syslog, a container's or another prefix",
        "the object at the end of each line",
        "",
        r#"2024-05-20T00:00:0S.1Z stdout F {"ts":171616320S,"remote_ip":"CLIENT","uri":"/a"}"#,
        &[],
    ),
    format(
        "JSON lines with their time before the object (Caddy's console, Fluentd)",
        "the object at the end of each line",
        "",
        r#"2024/05/20 00:00:0S.123	info	http.log.access	handled request	{"request":{"client_ip":"CLIENT","method":"GET","uri":"/a"},"status":200}"#,
        &[],
    ),
    format(
        "LTSV",
        "its labels",
        "",
        "time:20/May/2024:00:00:0S +0000\thost:CLIENT\tforwardedfor:-\treq:GET /a HTTP/1.1\tstatus:200\tsize:5\treqtime:0.005\tvhost:example.org",
        &[],
    ),
    format(
        "logfmt (Grafana, logrus, Go's `log/slog`)",
        "its labels",
        "",
        r#"time=2024-05-20T00:00:0S.123Z level=info msg="a \"request\"" method=GET path=/a status=200 remote_addr=CLIENT:50000"#,
        &[],
    ),
    format(
        "logfmt of Heroku's router",
        "its labels; the stamp is before them",
        "",
        r#"2024-05-20T00:00:0S.123456+00:00 heroku[router]: at=info method=GET path="/a?b=c" host=example.org fwd="CLIENT" dyno=web.1 connect=0ms service=5ms status=200 bytes=5"#,
        &[],
    ),
    format(
        "W3C Extended: IIS",
        "`#Fields:`",
        "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status time-taken\n",
        "2024-05-20 00:00:0S 10.0.0.1 GET /a - 443 - CLIENT curl/8.5.0 200 15",
        &[],
    ),
    format(
        "W3C Extended: CloudFront",
        "`#Fields:`",
        "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status\n",
        "2024-05-20\t00:00:0S\tFRA1\t392\tCLIENT\tGET\td111.cloudfront.example\t/a\t200",
        &[],
    ),
    format(
        "W3C Extended: Exchange, with commas",
        "`#Fields:`",
        "#Software: Microsoft Exchange Server\n#Fields: date-time,connector-id,remote-endpoint,data\n",
        "2024-05-20T00:00:0S.123Z,in,CLIENT:50000,\"250 a, b\"",
        &[],
    ),
    format(
        "Zeek",
        "`#fields`",
        "#separator \\x09\n#path\thttp\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tmethod\thost\turi\tstatus_code\n#types\ttime\tstring\taddr\tport\taddr\tstring\tstring\tstring\tcount\n",
        "171616320S.123456\tCabc\tCLIENT\t50000\t10.0.0.1\tGET\texample.org\t/a\t200",
        &[],
    ),
    format(
        "AWS Application Load Balancer",
        "its lines, or `--format alb`",
        "",
        r#"h2 2024-05-20T00:00:0S.186641Z app/web/50dc6c495c0c9188 CLIENT:50000 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://example.org:443/a HTTP/2.0" "curl/8.5.0" ECDHE TLSv1.2 arn:aws:x "Root=1" "example.org" "arn:aws:y" 0 2024-05-20T00:00:0S.085000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-""#,
        &[],
    ),
    format(
        "AWS Classic Load Balancer",
        "its lines, or `--format elb`",
        "",
        r#"2024-05-20T00:00:0S.945958Z web CLIENT:50000 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://example.org:80/a HTTP/1.1" "curl/8.5.0" - -"#,
        &[],
    ),
    format(
        "AWS Network Load Balancer (TLS)",
        "its lines, or `--format nlb`",
        "",
        "tls 2.0 2024-05-20T00:00:0S net/web/c6e77e28c25b2234 g3d4b5e8bb8464cd CLIENT:51341 10.0.0.1:443 5 2 98 246 - arn:aws:x - ECDHE tlsv12 - example.org - - - 2024-05-20T00:00:0S",
        &[],
    ),
    format(
        "Amazon S3 server access log",
        "its lines, or `--format s3`",
        "",
        r#"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be bucket [20/May/2024:00:00:0S +0000] CLIENT - 3E57427F3EXAMPLE REST.GET.OBJECT a.txt "GET /bucket/a.txt HTTP/1.1" 200 - 113 113 7 6 "-" "curl" -"#,
        &[],
    ),
    format(
        "HAProxy (`option httplog`, `option tcplog`)",
        "its lines, or `--format haproxy`",
        "",
        r#"May 20 00:00:0S lb1 haproxy[14389]: CLIENT:50000 [20/May/2024:00:00:0S.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /a HTTP/1.1""#,
        &[],
    ),
    format(
        "Envoy, its text format",
        "its lines, or `--format envoy`",
        "",
        r#"[2024-05-20T00:00:0S.310Z] "GET /a HTTP/2" 200 - 154 0 226 100 "CLIENT" "curl" "cc21d9b0-cf5c" "locations" "tcp://10.0.2.1:80""#,
        &[],
    ),
    format(
        "Apache `ssl_request_log`: the client directly after the stamp",
        "its lines",
        "",
        r#"[20/May/2024:00:00:0S +0000] CLIENT TLSv1.3 TLS_AES_256_GCM_SHA384 "GET /a HTTP/1.1" 612"#,
        &[],
    ),
    format(
        "AWS VPC flow log, its default format",
        "its lines, or `--format vpc-flow`",
        "",
        "2 123456789010 eni-1235b8ca123456789 CLIENT 172.31.16.21 20641 22 6 20 4249 171616320S 1716163260 ACCEPT OK",
        &[],
    ),
    format(
        "AWS VPC flow log, of any fields",
        "the names of its fields in the first line",
        "version vpc-id srcaddr dstaddr packets bytes start end action log-status\n5 vpc-1 - - - - 1716163200 1716163260 - NODATA\n",
        "5 vpc-1 CLIENT 172.31.16.21 20 4249 171616320S 1716163260 ACCEPT OK",
        &[],
    ),
    format(
        "CEF (web application firewalls)",
        "its labels",
        "",
        "CEF:0|V|WAF|1|1|a rule|3|src=CLIENT rt=171616320S000 requestMethod=GET request=/a",
        &[],
    ),
    format(
        "text of tcpdump with dates (`-tttt` or `-tt`)",
        "its lines, or `--format tcpdump`",
        "",
        "2024-05-20 00:00:0S.123456 IP CLIENT.50000 > 10.0.0.2.80: Flags [S], seq 1, win 64240, length 0",
        &[],
    ),
    format(
        "Squid, its native format",
        "its lines, or `--format squid`",
        "",
        "171616320S.123    200 CLIENT TCP_MISS/200 5000 GET http://example.org/a - HIER_DIRECT/10.0.0.9 text/html",
        &[],
    ),
    format(
        "Istio, its text format",
        "its lines, or `--format istio`",
        "",
        r#"[2024-05-20T00:00:0S.310Z] "GET /a HTTP/1.1" 200 - via_upstream - "-" 0 5 1 1 "-" "curl" "cc21d9b0" "web:80" "10.44.1.27:80" inbound|80|| 127.0.0.1:40000 10.44.1.27:80 CLIENT:50000 - default"#,
        &[],
    ),
    format(
        "Nginx Proxy Manager",
        "its lines, or `--format nginx-proxy-manager`",
        "",
        r#"[20/May/2024:00:00:0S +0000] - 200 200 - GET https example.org "/a" [Client CLIENT] [Length 5] [Gzip -] [Sent-to 10.0.0.2] "curl" "-""#,
        &[],
    ),
    format(
        "Gin",
        "its lines, or `--format gin`",
        "",
        r#"[GIN] 2024/05/20 - 00:00:0S | 200 |      15.2ms |     CLIENT | GET      "/a""#,
        &[],
    ),
    format(
        "any log of nginx",
        "`--log-format` with its `log_format`",
        "",
        r#"0S|1716163200.00S|CLIENT|GET /a HTTP/1.1|200"#,
        &["--log-format", "$pid|$msec|$remote_addr|$request|$status"],
    ),
    format(
        "any log of Apache",
        "`--log-format` with its `LogFormat`",
        "",
        r#"2024-05-20 00:00:0S.483 CLIENT "GET /a HTTP/1.1" 200 1234"#,
        &[
            "--log-format",
            r#"%{%Y-%m-%d %H:%M:%S}t.%{msec_frac}t %a \"%r\" %>s %D"#,
        ],
    ),
    format(
        "any other lines",
        "`--regex`, and `--time-format` for unusual stamps",
        "",
        "at 05/20/2024 12:00:0S AM from <CLIENT>",
        &[
            "--regex",
            "at (?<time>.{22}) from <(?<key>[^>]+)>",
            "--time-format",
            "%m/%d/%Y %I:%M:%S %p",
        ],
    ),
    format(
        "tables with commas (RFC 4180), semicolons, tabs or bars",
        "a header with a usual name for the time, or `--time`",
        "time;client;tokens\n",
        "171616320S;CLIENT;374.0",
        &["--key", "client", "--cost", "tokens"],
    ),
    format(
        "tables below comments",
        "`#` before each comment; the last may be the header",
        "# made by x\n# time;client;tokens\n",
        "171616320S;CLIENT;374.0",
        &["--key", "client", "--cost", "tokens"],
    ),
    format(
        "tables with the date and the time of day apart",
        "columns `date` and `time`, or `--time DATE+TIME`",
        "date,time,client\n",
        "2024-05-20,00:00:0S,CLIENT",
        &["--key", "client"],
    ),
];

/// Formats beside text, which are tested in `inputs` and in their modules.
const OTHERS: [(&str, &str); 3] = [
    (
        "packet captures, pcap and pcapng: Ethernet, Linux cooked (`tcpdump -i any`), raw IP, loopback, PPP; VLAN, PPPoE, MPLS",
        "how they begin",
    ),
    ("any of these packed with gzip, zstd, xz or bzip2", "how they begin"),
    ("standard input", "`-`"),
];

const CLIENTS: [(&str, &str); 3] = [("203.0.113.7", "1"), ("203.0.113.7", "1"), ("198.51.100.9", "2")];

#[test]
fn an_example_of_each_format_is_read() {
    for (number, format) in (0..).zip(FORMATS) {
        let mut content = format.head.to_owned();
        for (client, second) in CLIENTS {
            let line = format.line.replace("CLIENT", client);
            // The letter stands alone or behind digits, never in a word.
            let mut filled = String::new();
            for (at, letter) in line.char_indices() {
                let is_second = letter == 'S' && line[..at].ends_with(|before: char| matches!(before, '0'..='9' | '.'));
                filled.push_str(if is_second {
                    second
                } else {
                    &line[at..at + letter.len_utf8()]
                });
            }
            let _ = writeln!(content, "{filled}");
        }
        let path = file(&format!("format-{number}.log"), content);
        let limit = if format.arguments.contains(&"--cost") {
            "374/min"
        } else {
            "1/s"
        };
        let arguments = [&["--limit", limit, "--format", "json", &path], format.arguments].concat();
        let output = meter_replay(&arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}: {}",
            format.input,
            text(&output.stderr)
        );
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let traffic = &told["traffic"];
        let numbers = [
            &traffic["requests"],
            &traffic["bad_lines"],
            &traffic["keys"],
            &told["limits"][0]["keys_denied"],
        ];
        assert_eq!(
            numbers.map(Value::as_u64),
            [3, 0, 2, 1].map(Some),
            "{}: {told}",
            format.input
        );
        assert_eq!(
            told["limits"][0]["hardest_hit"][0]["key"], "203.0.113.7",
            "{}",
            format.input
        );
        let first = traffic["first"].as_str().unwrap_or_default();
        assert!(first.starts_with("2024-05-20T00:00:0"), "{}: {first}", format.input);
    }
}

/// The requests and bad lines that are read from a file, with their keys.
fn read(content: &str) -> Result<(Vec<(i64, String)>, u64), String> {
    let source = std::io::Cursor::new(content.to_owned().into_bytes());
    let told = |error: meter_replay::Error| error.to_string();
    let mut reader = Reader::of(source, "input", &Options::default()).map_err(told)?;
    let mut collected = Collected::default();
    let mut requests = Vec::new();
    while let Some(event) = reader.next(&mut collected).map_err(told)? {
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
    ] {
        match read(&format!("{line}\n")) {
            Ok((requests, _)) => assert_eq!(requests, [], "{line}"),
            Err(reason) => assert!(reason.contains("without a header"), "{reason}"),
        }
    }
}

#[test]
fn the_readme_lists_the_formats_that_are_read() {
    const BEGIN: &str = "<!-- formats: written by tests/tool/formats.rs -->\n";
    const END: &str = "<!-- end of formats -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("a README");
    let mut table = String::from("| input | known by |\n|---|---|\n");
    let rows = FORMATS.iter().map(|format| (format.input, format.known_by));
    for (input, known_by) in rows.chain(OTHERS) {
        let _ = writeln!(table, "| {input} | {known_by} |");
    }
    let (before, rest) = readme.split_once(BEGIN).expect("the place of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let written = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &written).expect("a README that can be written");
    }
    let update = "UPDATE_README=1 cargo test -p ratelimit_meter_replay --test tool formats";
    assert!(
        readme == written || std::env::var_os("UPDATE_README").is_some(),
        "run {update}"
    );
}
