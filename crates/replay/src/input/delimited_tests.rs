use std::io::Cursor;

use super::super::{Collected, Reader};
use super::*;
use crate::stamp::StampOptions;

/// Times in seconds and costs, the number of bad lines, and the text of those lines as shown.
type TableContents = (Vec<(i64, u64)>, u64, Vec<String>);

fn read_text(text: &str, options: &Options) -> Result<TableContents, String> {
    let mut collected = Collected::default();
    let mut reader = Reader::of(Cursor::new(text.to_owned()), "f", options).map_err(|error| error.to_string())?;
    let mut events = Vec::new();
    while let Some(event) = reader.next(&mut collected).map_err(|error| error.to_string())? {
        events.push((event.time / 1_000_000_000, event.cost));
    }
    let quoted = collected.bad.quoted().iter().map(ToString::to_string).collect();
    Ok((events, collected.bad.count(), quoted))
}

/// Allows stamps in the first seconds of 1970.
fn old() -> Options {
    Options {
        stamps: StampOptions {
            allow_old: true,
            ..StampOptions::default()
        },
        ..Options::default()
    }
}

fn cost() -> Options {
    Options {
        cost: Some("cost".to_owned()),
        ..old()
    }
}

#[test]
fn records_are_read_by_column_names() {
    for text in [
        "cost,key,time\n7,a,1\n0,b,2\n",
        "\u{feff}Cost, KEY ,TIMESTAMP\r\n7,a,1\r\n\r\n0,b,2",
        "a\tts\tcost\n\t1\t7\n\"\t2\t0\n",
        "\"a,\n\"\"b\",date,cost\n\"x,\ny\",1,7\nz,2, 0 \n",
        "time,Time,COST,cost\n1,x,x,7\n2,x,x,0\n",
    ] {
        assert_eq!(
            read_text(text, &cost()),
            Ok((vec![(1, 7), (2, 0)], 0, vec![])),
            "{text}"
        );
    }
}

#[test]
fn cost_is_any_whole_number_of_64_bits() {
    let text = "time,cost\n1,4294967295\n2,4294967296\n3,18446744073709551615\n4,18446744073709551616\n4,-1\n5,1.5\n6,\n7,+1\n";
    let (events, bad, _) = read_text(text, &cost()).expect("three good lines");
    assert_eq!(events, [(1, 4_294_967_295), (2, 4_294_967_296), (3, u64::MAX)]);
    assert_eq!(bad, 5);
}

#[test]
fn bad_records_are_reported_with_their_lines() {
    let text = "time,key\n1,a\n\n,\nx,a\n2\n3,a,b\n4,\"b\nc\",d\n5,a\n";
    let (events, bad, quoted) = read_text(text, &old()).expect("two good lines");
    assert_eq!(events, [(1, 1), (5, 1)]);
    assert_eq!(bad, 5);
    let unknown = "the stamp has no known form: give it with --time-format, such as --time-format '%d/%m/%Y %H:%M:%S'";
    assert_eq!(
        quoted,
        [
            format!("f:5: {unknown}: `x,a`"),
            "f:6: the header has 2 fields, this has 1: `2`".to_owned(),
            "f:7: the header has 2 fields, this has 3: `3,a,b`".to_owned(),
            "f:8: the header has 2 fields, this has 3: `4,\"b\\nc\",d`".to_owned(),
        ]
    );
}

#[test]
fn repeated_header_is_not_a_row() {
    for text in [
        "time,key\n1,a\ntime,key\n2,b\n",
        "\u{feff}time,key\r\n1,a\r\n\u{feff}time,key\r\n2,b\r\n",
        "time\tkey\n1\ta\ntime\tkey\n2\tb\n",
    ] {
        let read = read_text(text, &old()).expect("two good lines");
        assert_eq!(read, (vec![(1, 1), (2, 1)], 0, vec![]), "{text}");
    }
    let (events, bad, _) = read_text("time,key\n1,a\nkey,time\n2,b\n", &old()).expect("two good lines");
    assert_eq!((events.len(), bad), (2, 1), "another header");
}

#[test]
fn unclosed_quote_costs_its_own_line_only() {
    let open = "a quote is not closed within the next 100 lines or 64 KiB";
    let many: String = (3..1_000).map(|second| format!("{second},a\n")).collect();
    let after: Vec<(i64, u64)> = (3..1_000).map(|second| (second, 1)).collect();
    for (line, reason) in [
        ("2,\"b", open.to_owned()),
        ("\"2,b", open.to_owned()),
        (
            "2,\"b\"c",
            "a quoted field continues after its closing quote".to_owned(),
        ),
    ] {
        let text = format!("time,key\n1,a\n{line}\n{many}");
        let (events, bad, quoted) = read_text(&text, &old()).expect("good lines");
        assert_eq!(events[1..], after, "{line}");
        assert_eq!((bad, quoted), (1, vec![format!("f:3: {reason}: `{line}`")]));
    }
    // The next line with quotes reveals the open quote.
    let text = "time,key\n1,\"a\n2,\"b\"\n3,\"c\"\n";
    assert_eq!(read_text(text, &old()).expect("good lines").0, [(2, 1), (3, 1)]);
    // Many of them, each looking for the next quote.
    let text = format!("time,key\n{}", "1,\"a\n2,b\n".repeat(5_000));
    let (events, bad, _) = read_text(&text, &old()).expect("good lines");
    assert_eq!(u64::try_from(events.len()).ok().map(|good| good + bad), Some(10_000));
}

#[test]
fn record_of_many_lines_is_bounded() {
    for (lines, good) in [(99, true), (100, false)] {
        let text = format!("time,key\n1,\"{}\"\n", "x\n".repeat(lines));
        let (events, bad, _) = read_text(&text, &old()).expect("a header");
        assert_eq!((events.len(), bad > 0), (usize::from(good), !good), "{lines}");
    }
}

#[test]
fn overlong_line_is_bad_and_its_neighbours_good() {
    let text = format!("time,key\n1,a\n2,{}\n3,a\n", "x".repeat(3 << 20));
    let (events, bad, quoted) = read_text(&text, &old()).expect("good lines");
    assert_eq!((events, bad), (vec![(1, 1), (3, 1)], 1));
    assert!(
        quoted[0].starts_with("f:3: the line is longer than 1 MiB: `2,xxx"),
        "{quoted:?}"
    );
}

#[test]
fn missing_column_error_lists_the_columns() {
    let error = |text, options: &Options| read_text(text, options).expect_err("a column is missing");
    let columns = "the columns are `when`, `user`";
    assert_eq!(
        error("when,user\n1,a\n", &old()),
        format!(
            "f, read as a table: no column has a usual name for the time; {columns}: name one with --time, or two as DATE+TIME"
        )
    );
    let mut options = Options {
        time: Some("when".to_owned()),
        ..cost()
    };
    assert_eq!(
        error("when,user\n", &options),
        format!("f, read as a table: there is no column `cost`; {columns}")
    );
    options.by = Some(By::Ip);
    assert_eq!(
        error("when,user\n", &options),
        format!("f, read as a table: there is no column `ip`; {columns}: name one with --key, or say --by all")
    );
}

#[test]
fn column_of_stamps_is_first_with_times() {
    let read = |text: &str| read_text(text, &Options::default());
    let stamp = 1_716_163_218;
    for text in [
        "timestamp,client,time\n2024-05-20T00:00:18Z,a,0.012\n",
        "time,client,ts\n45432.5,a,1716163218\n",
        "date,time,client\n2024-05-20,00:00:18,a\n",
        "Date;Time;client\n2024-05-20;00:00:18;a\n",
        "sep=;\r\ntime;client\r\n2024-05-20 00:00:18;a\r\n",
        "@timestamp;client\n2024-05-20 00:00:18;a\n",
        "client|time_local\na|20/May/2024:00:00:18 +0000\n",
        "client,time\na,1716163218000\n",
    ] {
        assert_eq!(read(text), Ok((vec![(stamp, 1)], 0, vec![])), "{text}");
    }
    let (events, bad, quoted) = read("time,a\n0.012,1\n0.5,2\n").expect("a table");
    assert_eq!((events.len(), bad), (0, 2));
    assert!(quoted[0].contains("--allow-old"), "{quoted:?}");
}
