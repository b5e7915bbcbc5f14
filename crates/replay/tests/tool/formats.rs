//! The formats that are read, each by an example; the table of formats in the README is made of these.
//!
//! `UPDATE_README=1 cargo test -p ratelimit_meter_replay --test tool formats` writes the table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::run::{file, meter_replay, text};
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
        "TSKV (ClickHouse)",
        "its labels",
        "",
        "tskv\tts=2024-05-20 00:00:0S\tremote_addr=CLIENT\trequest=GET /a?b=c HTTP/1.1\tstatus=200",
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
        "tables with a log line or JSON in each row, as CloudWatch, Grafana and Splunk export them",
        "a column `@message`, `Line` or `_raw`",
        "@timestamp,@message\n",
        r#"2024-05-20 00:00:0S.123,"CLIENT - - [20/May/2024:00:00:0S +0000] ""GET /a HTTP/1.1"" 200 5""#,
        &[],
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
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let traffic = &json["traffic"];
        let numbers = [
            &traffic["requests"],
            &traffic["bad_lines"],
            &traffic["keys"],
            &json["limits"][0]["keys_denied"],
        ];
        assert_eq!(
            numbers.map(Value::as_u64),
            [3, 0, 2, 1].map(Some),
            "{}: {json}",
            format.input
        );
        assert_eq!(
            json["limits"][0]["hardest_hit"][0]["key"], "203.0.113.7",
            "{}",
            format.input
        );
        let first = traffic["first"].as_str().unwrap_or_default();
        assert!(first.starts_with("2024-05-20T00:00:0"), "{}: {first}", format.input);
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
