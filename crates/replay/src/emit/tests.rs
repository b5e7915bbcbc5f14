use super::*;

fn emitted(limit: &str, by: &By, target: Software) -> String {
    emitted_as(limit, AlgorithmName::Gcra, by, target)
}

fn emitted_as(limit: &str, algorithm: AlgorithmName, by: &By, target: Software) -> String {
    let limit = LimitSpec::parse(limit, algorithm).expect("a good limit");
    render(&limit, Some(by), CLIENTS, target).expect("one limit")
}

const CLIENTS: Networks = Networks { ipv4: 32, ipv6: 64 };

/// Returns the lines that are not comments.
fn bare(limit: &str, by: &By, target: Software) -> String {
    let text = emitted(limit, by, target);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn huge_burst_is_written_for_nginx_only() {
    const LIMIT: &str = "nginx:10r/s burst=4294967295";
    assert!(emitted(LIMIT, &By::Ip, Software::Nginx).contains(" burst=4294967295;"));
    let limit = LimitSpec::parse(LIMIT, AlgorithmName::Gcra).expect("a good limit");
    for target in [Software::Haproxy, Software::Envoy, Software::Traefik, Software::Rust] {
        let error = render(&limit, Some(&By::Ip), CLIENTS, target).expect_err("no other software has such a burst");
        assert_eq!(
            error.to_string(),
            "--emit cannot write `nginx:10r/s burst=4294967295`: its burst is too large for other software: say --emit nginx"
        );
    }
}

#[test]
fn nginx_gets_burst_minus_one_without_delay() {
    assert_eq!(
        bare("10/s burst 20", &By::Ip, Software::Nginx),
        "limit_req_zone $binary_remote_addr zone=meter:10m rate=10r/s;\nlimit_req_status 429;\nlimit_req zone=meter burst=19 nodelay;"
    );
    for (limit, rate, parameters) in [
        ("100/min burst 5", "100r/m", " burst=4 nodelay"),
        ("1/6s", "10r/m", " nodelay"),
        ("7/13s burst 3", "32r/m", " burst=2 nodelay"),
        ("1000/d burst 50 weight 2", "1r/m", " burst=24 nodelay"),
        ("20/s burst 9 weight 2", "10r/s", " burst=3 nodelay"),
        ("fixed:60/min", "1r/s", " burst=59 nodelay"),
        ("nginx:10r/s burst=20 delay=8", "10r/s", " burst=20 delay=8"),
        ("nginx:3r/m", "3r/m", ""),
    ] {
        let text = emitted(limit, &By::Path, Software::Nginx);
        assert!(
            text.contains(&format!("limit_req_zone $uri zone=meter:10m rate={rate};")),
            "{text}"
        );
        assert!(text.contains(&format!("limit_req zone=meter{parameters};")), "{text}");
    }
    let text = emitted("100/min", &By::Ip, Software::Nginx).replace("\n# ", " ");
    assert!(text.contains("1.666 a second"), "{text}");
    assert!(!emitted("10/s", &By::Ip, Software::Nginx).contains("rounds"));
    assert!(emitted("1/h", &By::Ip, Software::Nginx).contains("admits more"));
    let each = emitted("10/s", &By::parse("ip,method,path"), Software::Nginx);
    assert!(
        each.contains("limit_req_zone $binary_remote_addr$request_method$uri zone"),
        "{each}"
    );
    for (by, key) in [
        ("all", "\"all\""),
        ("all,all", "\"all\""),
        ("ip,all", "$binary_remote_addr"),
    ] {
        // A variable such as $server_name may be empty, and differs between servers.
        let text = bare("10/s", &By::parse(by), Software::Nginx);
        assert!(
            text.starts_with(&format!("limit_req_zone {key} zone=meter:10m ")),
            "{text}"
        );
        assert_eq!(text.contains('$'), key.contains('$'), "{text}");
    }
    assert!(emitted("10/s", &By::parse("ip,tenant"), Software::Nginx).contains("limit_req_zone $limit_key zone"));
    let both = emitted("10/s & 1000/h", &By::Ip, Software::Nginx);
    assert!(
        both.contains("zone=meter:10m rate=10r/s") && both.contains("zone=meter2:10m rate=16r/m"),
        "{both}"
    );
    assert!(
        both.contains("burst=9 nodelay") && both.contains("burst=999 nodelay"),
        "{both}"
    );
}

#[test]
fn haproxy_gets_a_window_that_admits_the_burst() {
    let text = emitted("10/s burst 20", &By::Ip, Software::Haproxy);
    assert!(
        text.contains("stick-table type ipv6 size 1m expire 2s store http_req_rate(2s)"),
        "{text}"
    );
    assert!(
        text.contains("deny_status 429 if { sc_http_req_rate(0,meter0) gt 20 }"),
        "{text}"
    );
    let text = emitted("3/s burst 2", &By::Column("tenant".to_owned()), Software::Haproxy);
    assert!(
        text.contains("http_req_rate(667ms)") && text.contains("gt 2 }"),
        "{text}"
    );
    assert!(text.contains("req.hdr(X-tenant)"), "{text}");
}

#[test]
fn networks_are_masked_or_noted() {
    let limit = LimitSpec::parse("10/s", AlgorithmName::Gcra).expect("a good limit");
    let text = |by: &By, ipv4, ipv6, target| {
        let text = render(&limit, Some(by), Networks { ipv4, ipv6 }, target).expect("one limit");
        text.replace("\n# ", " ").replace("\n// ", " ")
    };
    assert!(text(&By::Ip, 32, 64, Software::Haproxy).contains("track-sc0 src,ipmask(32,64) table"));
    assert!(text(&By::Xff, 24, 56, Software::Haproxy).contains("hdr_ip(x-forwarded-for,-1),ipmask(24,56) table"));
    assert!(text(&By::Ip, 32, 128, Software::Haproxy).contains("track-sc0 src table"));
    for target in [Software::Nginx, Software::Traefik, Software::Rust] {
        let note = "In the replay the IPv4 addresses of a /24 and the IPv6 addresses of a /64 are one key.";
        assert!(text(&By::Ip, 24, 64, target).contains(note));
        assert!(text(&By::parse("ip,path"), 32, 64, target).contains("replay the IPv6 addresses of a /64 are"));
        for (by, ipv6) in [(By::Ip, 128), (By::Path, 64), (By::All, 64)] {
            assert!(!text(&by, 32, ipv6, target).contains("one key"));
        }
    }
}

#[test]
fn token_buckets_get_rate_and_burst() {
    let text = emitted("10/s burst 20", &By::All, Software::Envoy);
    for line in ["max_tokens: 20", "tokens_per_fill: 1\n", "fill_interval: 0.1s"] {
        assert!(text.contains(line), "{text}");
    }
    let text = emitted("1000/s burst 20", &By::Ip, Software::Envoy);
    assert!(
        text.contains("tokens_per_fill: 20\n") && text.contains("fill_interval: 0.05s"),
        "{text}"
    );
    assert!(
        text.contains("not one for each ip") && text.contains("at most 20 in 0.05 s"),
        "{text}"
    );
    let text = emitted("100/min burst 20", &By::Ip, Software::Traefik);
    for line in ["average: 1\n", "period: 600000000ns", "burst: 20"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn envoy_keeps_rate_and_never_exceeds_it() {
    let text = emitted("99/s burst 10", &By::All, Software::Envoy);
    assert!(
        text.contains("tokens_per_fill: 9\n") && text.contains("fill_interval: 0.091s"),
        "{text}"
    );
    assert!(text.replace("\n# ", " ").contains("at most 9 in 0.091 s"), "{text}");
    for cells in [1_u32, 3, 7, 10, 99, 101, 999, 1_000, 12_345, 999_983, 4_000_000_000] {
        for period in ["1s", "7s", "13s", "60s", "3607s", "1d", "1ms"] {
            for burst in [1_u32, 2, 5, 9, 10, 20, 97, 100, 1_000, 50_000, 4_000_000_000] {
                let text = format!("{cells}/{period} burst {burst}");
                // Some rates and bursts are above the largest that a meter can have.
                let Ok(LimitRule::Meter(Quotas::One(quota))) = text.parse() else {
                    continue;
                };
                let requests = Requests::of(quota);
                let (tokens, interval_ms) = buckets::fill(requests);
                assert!(interval_ms >= 50 && (1..=requests.at_once).contains(&tokens), "{text}");
                let (kept, rate) = (tokens * requests.period_ns, requests.count * interval_ms * 1_000_000);
                assert!(kept <= rate, "{text}: {tokens} in {interval_ms} ms is too fast");
                // An interval is rounded up by less than a millisecond.
                let lost_per_mille = match requests.span_ns() {
                    100_000_000.. => 10,
                    50_000_000.. => 20,
                    _ => continue,
                };
                assert!(
                    (rate - kept) * 1_000 <= rate * lost_per_mille,
                    "{text}: {tokens} in {interval_ms} ms is too slow"
                );
            }
        }
    }
}

#[test]
fn rust_notes_sameness_only_for_meters() {
    let is_same = |limit: &str| emitted(limit, &By::Ip, Software::Rust).contains("decisions are the same");
    assert!(is_same("10/s burst 20") && is_same("10/s & 1000/h"));
    for limit in [
        "nginx:100r/m burst=5 delay=2",
        "nginx:10r/s nodelay",
        "fixed:100/min",
        "sliding-log:9/h",
    ] {
        assert!(!is_same(limit), "{limit}");
    }
    let note = |limit: &str, target| {
        emitted(limit, &By::Ip, target)
            .replace("\n# ", " ")
            .replace("\n// ", " ")
    };
    for target in [Software::Rust, Software::Envoy] {
        let delayed = note("nginx:100r/m burst=5 delay=2", target);
        assert!(
            delayed.contains("rounds its rate down") && delayed.contains("delays a part"),
            "{delayed}"
        );
        assert!(!note("nginx:100r/m burst=5 nodelay", target).contains("delays a part"));
    }
    assert!(!note("nginx:100r/m burst=5 delay=2", Software::Nginx).contains("replayed nginx"));
}

#[test]
fn rust_has_the_algorithm_that_was_replayed() {
    for (algorithm, name, keyed) in [
        (AlgorithmName::Gcra, "GCRA", "KeyedMeter<String>"),
        (
            AlgorithmName::LeakyBucket,
            "LeakyBucket",
            "KeyedMeter<String, LeakyBucket>",
        ),
        (
            AlgorithmName::Exponential,
            "Exponential",
            "KeyedMeter<String, Exponential>",
        ),
    ] {
        let text = |limit: &str, by: &By| emitted_as(limit, algorithm, by, Software::Rust);
        let one = text("10/s", &By::All);
        assert!(one.contains(&format!("Ok({name}::from_quota(")), "{one}");
        assert!(text("10/s", &By::Ip).contains(&format!("Result<{keyed}, ")));
        let both = text("10/s & 1000/h", &By::All);
        assert!(both.contains(&format!("Result<Dual<{name}>, ")), "{both}");
        let proxy = emitted_as("10/s", algorithm, &By::Ip, Software::Haproxy);
        assert_eq!(proxy.contains("exponential average"), name == "Exponential", "{proxy}");
    }
}

#[test]
fn every_target_has_comments_and_no_long_line() {
    let column = By::Column("a \"b\"\n".to_owned());
    for limit in [
        "10/s burst 20",
        "1/20000d",
        "4000000000/s",
        "9/s & 77/h weight 7",
        "5/s burst 9 every 1s",
        "sliding-log:9/h",
    ] {
        let each = By::parse("xff,tenant");
        for by in [
            &By::Ip,
            &By::All,
            &By::Path,
            &By::Status,
            &By::Xff,
            &By::Method,
            &By::Host,
            &each,
            &column,
        ] {
            for target in Software::value_variants() {
                let text = emitted(limit, by, *target);
                let comment = if *target == Software::Rust { "// " } else { "# " };
                assert!(text.starts_with(&format!("{comment}{limit} for ")), "{text}");
                assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
                assert!(
                    text.lines().filter(|line| line.starts_with(comment)).count() > 1,
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn limits_of_a_file_are_not_emitted() {
    let rows = crate::limit::RuleFile::parse("plans.csv", "a,1/s", crate::limit::AlgorithmName::Gcra).expect("a row");
    let error = render(&LimitSpec::per_key(rows), None, CLIENTS, Software::Nginx).expect_err("many limits");
    assert!(error.to_string().contains("--chosen"), "{error}");
}
