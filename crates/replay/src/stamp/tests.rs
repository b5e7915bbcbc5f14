use super::StampError::{NoSuchTime, NotCommonLog, OtherForm, OutOfRange, UnknownForm, Unlikely, ZoneLetters};
use super::*;

/// Reads a stamp of any year.
fn parse(stamp: &[u8]) -> Result<i64, StampError> {
    let options = StampOptions {
        allow_old: true,
        ..StampOptions::default()
    };
    Stamps::new(options).parse(stamp)
}

const SECOND: i64 = 1_000_000_000;

#[test]
fn common_log_stamps_are_read() {
    let table: &[(&str, i64)] = &[
        ("01/Jan/1970:00:00:00 +0000", 0),
        ("31/Dec/2200:23:59:59 +0000", 7_289_654_399),
        ("20/May/2024:00:00:18 +0000", 1_716_163_218),
        ("20/May/2024:02:00:18 +0200", 1_716_163_218),
        ("19/May/2024:16:30:18 -0730", 1_716_163_218),
        ("20/May/2024:00:00:18 -0000", 1_716_163_218),
        ("20/MAY/2024:00:00:18 +0000", 1_716_163_218),
        ("29/Feb/2024:23:59:59 +0000", 1_709_251_199),
        ("29/Feb/2000:00:00:00 +0000", 951_782_400),
        ("31/Dec/2016:23:59:60 +0000", 1_483_228_799),
        ("01/Jan/2017:05:29:60 +0530", 1_483_228_799),
    ];
    for &(stamp, seconds) in table {
        assert_eq!(
            CommonLogStamps::default().parse(stamp.as_bytes()),
            Ok(seconds * SECOND),
            "{stamp}"
        );
    }
}

#[test]
fn invalid_common_log_stamps_have_distinct_errors() {
    let table = [
        ("", NotCommonLog),
        ("20/May/2024:00:00:18", NotCommonLog),
        ("20/May/2024:00:00:18 +000", NotCommonLog),
        ("20/May/2024:00:00:18 +00000", NotCommonLog),
        ("20/May/2024:00:00:18 00000", NotCommonLog),
        ("20/Mai/2024:00:00:18 +0000", NotCommonLog),
        (" 1/May/2024:00:00:18 +0000", NotCommonLog),
        ("20/May/2024 00:00:18 +0000", NotCommonLog),
        ("2\u{e9}/ay/2024:00:00:18 +0000", NotCommonLog),
        ("+1/May/2024:00:00:18 +0000", NotCommonLog),
        ("31/Apr/2024:00:00:00 +0000", NoSuchTime),
        ("29/Feb/2023:00:00:00 +0000", NoSuchTime),
        ("29/Feb/1900:00:00:00 +0000", NoSuchTime),
        ("00/May/2024:00:00:00 +0000", NoSuchTime),
        ("32/May/2024:00:00:00 +0000", NoSuchTime),
        ("20/May/2024:24:00:00 +0000", NoSuchTime),
        ("20/May/2024:00:60:00 +0000", NoSuchTime),
        ("20/May/2024:00:00:61 +0000", NoSuchTime),
        ("20/May/2024:12:00:60 +0000", NoSuchTime),
        ("31/Dec/2016:23:59:60 +0100", NoSuchTime),
        ("20/May/2024:00:00:00 +2400", NoSuchTime),
        ("20/May/2024:00:00:00 +0060", NoSuchTime),
        ("20/May/1600:00:00:00 +0000", OutOfRange),
        ("31/Dec/1969:23:59:59 +0000", OutOfRange),
        ("01/Jan/1970:00:59:59 +0100", OutOfRange),
        ("01/Jan/2201:00:00:00 +0000", OutOfRange),
        ("20/May/9999:00:00:00 +0000", OutOfRange),
    ];
    for (stamp, error) in table {
        assert_eq!(
            CommonLogStamps::default().parse(stamp.as_bytes()),
            Err(error),
            "{stamp}"
        );
    }
}

#[test]
fn stamps_of_records_are_read_to_the_nanosecond() {
    let table: &[(&str, i64)] = &[
        ("0", 0),
        ("-0", 0),
        ("807256800", 807_256_800 * SECOND),
        (" 1716163218 ", 1_716_163_218 * SECOND),
        ("1716163218.5", 1_716_163_218_500_000_000),
        ("1716163218.000000001", 1_716_163_218_000_000_001),
        ("1716163218.0000000019", 1_716_163_218_000_000_001),
        ("7289654399.999999999", 7_289_654_399_999_999_999),
        ("2024-05-20T00:00:18Z", 1_716_163_218 * SECOND),
        ("2024-05-20t00:00:18z", 1_716_163_218 * SECOND),
        ("2024-05-20T02:00:18+02:00", 1_716_163_218 * SECOND),
        ("2024-05-19 16:30:18.125-07:30", 1_716_163_218_125_000_000),
        ("2024-05-20 00:00:18", 1_716_163_218 * SECOND),
        ("2023-11-16 18:17:03.9799600", 1_700_158_623_979_960_000),
        ("2023-11-16T18:17:03.123456789Z", 1_700_158_623_123_456_789),
        ("1716163218123", 1_716_163_218_123_000_000),
        ("1716163218123.5", 1_716_163_218_123_500_000),
        ("1716163218123456", 1_716_163_218_123_456_000),
        ("1716163218123456789", 1_716_163_218_123_456_789),
        ("20/May/2024:00:00:18 +0000", 1_716_163_218 * SECOND),
        ("20/May/2024:02:00:18.483 +0200", 1_716_163_218_483_000_000),
        ("20/May/2024:00:00:18.000001 +0000", 1_716_163_218_000_001_000),
        ("20/May/2024:00:00:18.483", 1_716_163_218_483_000_000),
        ("2024-05-20 00:00:18,125", 1_716_163_218_125_000_000),
        ("2024-05-20 00:00:18:125", 1_716_163_218_125_000_000),
        ("2024-05-20 02:00:18,125 +0200", 1_716_163_218_125_000_000),
        ("2024-05-20 00:00:18 UTC", 1_716_163_218 * SECOND),
        ("2024-05-20 02:00:18 +0200", 1_716_163_218 * SECOND),
        ("2024-05-20 02:00:18.125 +0200 CEST", 1_716_163_218_125_000_000),
        (
            "2024-05-20 00:00:18.125 +0000 UTC m=+0.012345",
            1_716_163_218_125_000_000,
        ),
        ("2024-05-20 02:00:18.125 CEST", 1_716_163_218_125_000_000),
        ("20/May/2024:02:00:18 CEST", 1_716_163_218 * SECOND),
        ("Mon May 20 02:00:18 CEST 2024", 1_716_163_218 * SECOND),
        ("Sun, 19 May 2024 17:00:18 PDT", 1_716_163_218 * SECOND),
        ("Mon, 20 May 2024 02:00:18 +0200 (CEST)", 1_716_163_218 * SECOND),
        (
            "Mon May 20 2024 02:00:18 GMT+0200 (Central European Summer Time)",
            1_716_163_218 * SECOND,
        ),
        ("2024-05-20 12:00:18 AM", 1_716_163_218 * SECOND),
        ("2024-05-20 1:00:18.125 am", 1_716_166_818_125_000_000),
        ("May 20, 2024, 12:00:18\u{202f}AM", 1_716_163_218 * SECOND),
        ("2024-05-20\u{a0}00:00:18", 1_716_163_218 * SECOND),
        ("2024-05-20, 00:00:18", 1_716_163_218 * SECOND),
        ("2024/5/20 0:18", 1_716_164_280 * SECOND),
        ("Mon 20 May 2024 02:00:18 +0200", 1_716_163_218 * SECOND),
        ("Mon 20 May 2024 12:00:18 AM UTC", 1_716_163_218 * SECOND),
        ("Mon 20 May 00:00:18 UTC 2024", 1_716_163_218 * SECOND),
        ("20 MAY 2024 00:00:18", 1_716_163_218 * SECOND),
        ("20240520 00:00:18.125", 1_716_163_218_125_000_000),
        ("20 May 2024 00:00:18,125", 1_716_163_218_125_000_000),
        ("20.05.2024 00:00:18,125", 1_716_163_218_125_000_000),
        ("20/May/2024:02:00:18,125 +0200", 1_716_163_218_125_000_000),
        ("Mon May 20 09:00:18 KST 2024", 1_716_163_218 * SECOND),
        ("1716163218,125", 1_716_163_218_125_000_000),
        ("20240520T000018,125", 1_716_163_218_125_000_000),
        ("May 20,2024 00:00:18", 1_716_163_218 * SECOND),
        ("20.05.2024,00:00:18", 1_716_163_218 * SECOND),
        ("2024-05-20T02:00:18+0200", 1_716_163_218 * SECOND),
        ("2024-05-20T02:00:18+02", 1_716_163_218 * SECOND),
        ("2024-05-20 02:00:18[Europe/Berlin]", 1_716_163_218 * SECOND),
        ("@40000000664a929c1cc9fec0", 1_716_163_218_483_000_000),
        ("20240520000018.123", 1_716_163_218_123_000_000),
        ("2024:05:20-00:00:18", 1_716_163_218 * SECOND),
        ("240506  0:00:18", 1_714_953_618 * SECOND),
        ("Mon May 20 02:00:18 2024 +0200", 1_716_163_218 * SECOND),
        ("Mon May 20 00:00:18 UTC 2024", 1_716_163_218 * SECOND),
        ("May 20 00:00:18 2024", 1_716_163_218 * SECOND),
        ("May 20 00:00:18 UTC 2024", 1_716_163_218 * SECOND),
        ("Mon May  6 00:00:18 2024", 1_714_953_618 * SECOND),
        ("Mon, 20 May 2024 00:00:18 GMT", 1_716_163_218 * SECOND),
        ("Mon, 20 May 2024 02:00:18 +0200", 1_716_163_218 * SECOND),
        ("2024/05/20 00:00:18", 1_716_163_218 * SECOND),
        ("2024/05/20 00:00:18.125", 1_716_163_218_125_000_000),
        ("20240520T000018Z", 1_716_163_218 * SECOND),
        ("2024-05-20 00:00", 1_716_163_200 * SECOND),
        ("[20/May/2024:00:00:18 +0000]", 1_716_163_218 * SECOND),
        ("20/May/2024 00:00:18", 1_716_163_218 * SECOND),
        ("20/05/2024:02:00:18 +0200", 1_716_163_218 * SECOND),
        ("2024/05/20 - 00:00:18", 1_716_163_218 * SECOND),
        ("20.05.2024 00:00:18", 1_716_163_218 * SECOND),
        ("20.05.2024, 00:00:18.125", 1_716_163_218_125_000_000),
        ("Mon May 20 12:00:18 AM UTC 2024", 1_716_163_218 * SECOND),
        ("Monday, 20-May-24 00:00:18 GMT", 1_716_163_218 * SECOND),
        ("2024-05-20T00:00Z", 1_716_163_200 * SECOND),
        ("2024-05-20  0:00:18", 1_716_163_218 * SECOND),
        ("2024-05-20_00:00:18.125", 1_716_163_218_125_000_000),
        ("2024.05.20 00:00:18", 1_716_163_218 * SECOND),
        ("2024 May 20 00:00:18.125", 1_716_163_218_125_000_000),
        ("2024 May  6 00:00:18", 1_714_953_618 * SECOND),
        ("May 20, 2024 12:00:18 AM", 1_716_163_218 * SECOND),
        ("May 20, 2024, 12:00:18 AM", 1_716_163_218 * SECOND),
        ("May 20 2024 00:00:18", 1_716_163_218 * SECOND),
        ("20240520000018", 1_716_163_218 * SECOND),
        ("1.716163218e9", 1_716_163_218 * SECOND),
        ("1.716163218125E+12", 1_716_163_218_125_000_000),
        ("1.7161632181255e9", 1_716_163_218_125_500_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799 * SECOND),
        ("2200-12-31T23:59:59Z", 7_289_654_399 * SECOND),
    ];
    for &(stamp, ns) in table {
        assert_eq!(parse(stamp.as_bytes()), Ok(ns), "{stamp}");
    }
}

#[test]
fn invalid_record_stamps_have_distinct_errors() {
    let table = [
        ("", UnknownForm),
        ("-", UnknownForm),
        (".5", UnknownForm),
        ("5.", UnknownForm),
        ("1.2.3", UnknownForm),
        ("1e99", UnknownForm),
        ("e9", UnknownForm),
        ("1e-9", UnknownForm),
        ("20241320000018", UnknownForm),
        ("+5", UnknownForm),
        ("yesterday", UnknownForm),
        ("2024-05-20", UnknownForm),
        ("5/6/24 10:18", UnknownForm),
        ("05/06/24 10:18:00", UnknownForm),
        ("2024-05-20 00:00:18[Europe/Nowhere]", NoSuchTime),
        ("2024-05-20 00:00:18 CST", ZoneLetters),
        ("Mon May 20 00:00:18 CST 2024", ZoneLetters),
        ("2024-05-20 00:00:18 and more", NoSuchTime),
        ("2024-04-31 00:00:00", NoSuchTime),
        ("2023-02-29T00:00:00Z", NoSuchTime),
        ("2024-13-01T00:00:00Z", NoSuchTime),
        ("2024-05-20T24:00:00Z", NoSuchTime),
        ("2024-05-20T12:00:60Z", NoSuchTime),
        ("2024-05-20T00:00:61Z", NoSuchTime),
        ("2024-05-20T00:00:00+99:00", NoSuchTime),
        ("1600-01-01T00:00:00Z", OutOfRange),
        ("-1.25", OutOfRange),
        ("-0.000000001", OutOfRange),
        ("7289654400", OutOfRange),
        ("1969-12-31 23:59:59.5", OutOfRange),
        ("2201-01-01T00:00:00Z", OutOfRange),
        ("17161632181234567890", OutOfRange),
        ("99999999999999999999999", OutOfRange),
    ];
    for (stamp, error) in table {
        assert_eq!(parse(stamp.as_bytes()), Err(error), "{stamp}");
    }
    assert_eq!(parse(b"2024-05-20 00:00:18\xff"), Err(NoSuchTime));
    assert_eq!(parse(b"\xff\xfe"), Err(UnknownForm));
}

#[test]
fn remembered_stamp_changes_no_result() {
    let stamps = [
        "01/Jan/1970:00:30:00 +0030",
        "01/Jan/1970:00:29:59 +0030",
        "20/May/2024:00:59:18 +0000",
        "20/May/2024:00:00:59 +0000",
        "20/May/2024:00:00:60 +0000",
        "20/May/2024:00:60:00 +0000",
        "20/May/2024:00:00:1: +0000",
        "20/May/2024:00:00/18 +0000",
        "20/May/2024:00:01:18 +0100",
        "31/Dec/2016:23:59:60 +0000",
        "31/Dec/2016:23:59:59 +0000",
        "31/Dec/2016:23:59:60 +0000",
    ];
    let mut remembering = CommonLogStamps::default();
    for &first in &stamps {
        for &second in &stamps {
            for stamp in [first, second] {
                let alone = CommonLogStamps::default().parse(stamp.as_bytes());
                assert_eq!(remembering.parse(stamp.as_bytes()), alone, "{first}, {second}");
            }
        }
    }
}

#[test]
fn unlikely_years_need_an_option() {
    let table = [
        "0.012",
        "45432.5",
        "631151999",
        "4102444800",
        "31/Dec/1989:23:59:59 +0000",
        "1601-01-01T00:00:00Z",
        "01/Jan/2100:00:00:00 +0000",
    ];
    for stamp in table {
        assert_eq!(Stamps::default().parse(stamp.as_bytes()), Err(Unlikely), "{stamp}");
    }
    for stamp in [
        "631152000",
        "4102444799.5",
        "01/Jan/1990:00:00:00 +0000",
        "2099-12-31T23:59:59Z",
    ] {
        Stamps::default().parse(stamp.as_bytes()).expect(stamp);
    }
}

#[test]
fn stamps_without_a_zone_use_the_given_zone() {
    let berlin = StampOptions {
        zone: TimeZone::get("Europe/Berlin").ok(),
        ..StampOptions::default()
    };
    let mut stamps = Stamps::new(berlin);
    for stamp in [
        "2024-05-20 02:00:18",
        "20/May/2024:02:00:18",
        "Mon May 20 02:00:18 2024",
        "2024-05-20T00:00:18Z",
        "20/May/2024:00:00:18 +0000",
        "1716163218",
    ] {
        assert_eq!(stamps.parse(stamp.as_bytes()), Ok(1_716_163_218 * SECOND), "{stamp}");
    }
}

#[test]
fn given_form_excludes_known_forms() {
    let given = |format: &str| {
        Stamps::new(StampOptions {
            format: Some(TimeFormat::parse(format)),
            ..StampOptions::default()
        })
    };
    for blank in [" ", "\u{202f}"] {
        let mut american = given(&format!("%m/%d/%Y %I:%M:%S{blank}%p"));
        for stamp in ["05/20/2024 12:00:18 AM", "05/20/2024 12:00:18\u{202f}AM"] {
            assert_eq!(american.parse(stamp.as_bytes()), Ok(1_716_163_218 * SECOND), "{stamp}");
        }
        assert_eq!(american.parse(b"1716163218"), Err(OtherForm));
    }
    let mut offset = given("%d.%m.%Y %H:%M:%S %z");
    assert_eq!(offset.parse(b"20.05.2024 02:00:18 +0200"), Ok(1_716_163_218 * SECOND));
    assert_eq!(given("ms").parse(b"1716163218123"), Ok(1_716_163_218_123_000_000));
    assert_eq!(given("s").parse(b"1716163218123"), Err(Unlikely));
    assert_eq!(given("%s").parse(b"1716163218"), Ok(1_716_163_218 * SECOND));
}

#[test]
fn unit_of_unix_time_follows_its_magnitude() {
    let mut stamps = Stamps::default();
    assert_eq!(stamps.unix_unit(), None);
    for (stamp, unit) in [
        ("1716163218", UnixUnit::Seconds),
        ("1716163218123", UnixUnit::Milliseconds),
        ("1716163218123456", UnixUnit::Microseconds),
        ("1716163218123456789", UnixUnit::Nanoseconds),
        ("638517600181234567", UnixUnit::Ticks),
    ] {
        let time = stamps.parse(stamp.as_bytes()).expect(stamp);
        assert_eq!(time / SECOND, 1_716_163_218, "{stamp}");
        assert_eq!(stamps.unix_unit(), Some(unit));
    }
    assert_eq!(stamps.parse(b"638517600181234567"), Ok(1_716_163_218_123_456_700));
}

/// Seconds after 2024-10-27 02:00 in summer, of stamps in Berlin.
fn read_in_berlin(stamps: &[&str]) -> Vec<i64> {
    let mut reader = Stamps::new(StampOptions {
        zone: TimeZone::get("Europe/Berlin").ok(),
        ..StampOptions::default()
    });
    let since = |ns: i64| ns / SECOND - 1_729_987_200;
    stamps
        .iter()
        .map(|stamp| since(reader.parse(stamp.as_bytes()).expect("a time")))
        .collect()
}

#[test]
fn letters_of_a_zone_decide_a_repeated_hour() {
    let stamps = [
        "2024-10-27 02:30:00 CET",
        "2024-10-27 02:30:00 CEST",
        "27/Oct/2024:02:30:00 CET",
        "Sun Oct 27 02:30:00 CEST 2024",
        "2024-10-27 01:30:00 WEST",
    ];
    assert_eq!(read_in_berlin(&stamps), [5_400, 1_800, 5_400, 1_800, 1_800]);
    for (zone, stamp) in [
        ("Asia/Shanghai", "2024-05-20 08:00:18 CST"),
        ("America/Chicago", "Sun May 19 19:00:18 CDT 2024"),
        ("Asia/Kolkata", "20/May/2024:05:30:18 IST"),
        ("Europe/London", "Mon, 20 May 2024 01:00:18 BST"),
    ] {
        let zone = TimeZone::get(zone).ok();
        let mut reader = Stamps::new(StampOptions {
            zone,
            ..StampOptions::default()
        });
        assert_eq!(reader.parse(stamp.as_bytes()), Ok(1_716_163_218 * SECOND), "{stamp}");
    }
}

#[test]
fn late_line_stays_in_its_repeated_hour() {
    let late = [
        "2024-10-27 02:50:00",
        "2024-10-27 02:25:00",
        "2024-10-27 02:51:00",
        "2024-10-27 02:00:10",
        "2024-10-27 02:51:00",
        "2024-10-27 02:01:00",
    ];
    assert_eq!(read_in_berlin(&late), [3_000, 1_500, 3_060, 3_610, 3_060, 3_660]);
    // A second log begins in the same night.
    let two = ["2024-10-27 03:10:00", "2024-10-27 01:59:00", "2024-10-27 02:01:00"];
    assert_eq!(read_in_berlin(&two), [7_800, -60, 60]);
}

#[test]
fn repeated_hour_continues_the_stamps_before_it() {
    let read = read_in_berlin;
    let through = [
        "2024-10-27 01:59:59",
        "2024-10-27 02:00:00",
        "2024-10-27 02:59:58",
        "2024-10-27 02:00:03",
        // A late line.
        "2024-10-27 02:59:59",
        "2024-10-27 02:00:04",
        "2024-10-27 02:59:59",
        "2024-10-27 02:30:00",
        "2024-10-27 02:20:00",
        "2024-10-27 03:00:00",
    ];
    assert_eq!(
        read(&through),
        [-1, 0, 3_598, 3_603, 3_599, 3_604, 3_599, 5_400, 4_800, 7_200]
    );
    assert_eq!(read(&["2024-10-27 02:30:00"]), [1_800], "the first stamp is in summer");
    assert_eq!(read(&["2024-10-27 03:00:00", "2024-10-27 02:59:59"]), [7_200, 7_199]);
}

#[test]
fn repeated_hours_of_stamps_without_zones_are_known() {
    for (stamp, is_repeated) in [
        ("2024-10-27 02:30:00", true),
        ("2024-10-27 02:30:00+01:00", false),
        ("2024-10-27 02:30:00 CET", false),
        ("2024-10-27 03:00:00", false),
        ("2024-03-31 02:30:00", false),
    ] {
        let mut reader = Stamps::new(StampOptions {
            zone: TimeZone::get("Europe/Berlin").ok(),
            ..StampOptions::default()
        });
        reader.parse(stamp.as_bytes()).expect("a time");
        assert_eq!(reader.has_repeated_hour(), is_repeated, "{stamp}");
    }
}
