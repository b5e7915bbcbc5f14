//! One order of time for the events of several files.

use crate::event::Event;

/// Puts the events of all files into the order of time, whatever the order of the files or of the
/// lines in them.
///
/// What came at the same time stays in the order of its lines; between two files, the one that begins
/// earlier goes first (then the one that ends earlier, then the one named earlier). So the pieces of a
/// rotated log, the boundary of which may fall within a second, give the same in any order.
#[must_use]
pub fn by_time(mut files: Vec<Vec<Event>>) -> Vec<Event> {
    files.sort_by_key(|file| {
        let times = || file.iter().map(|event| event.time);
        (times().min(), times().max())
    });
    let mut files = files.into_iter();
    let mut events = files.next().unwrap_or_default();
    for file in files {
        events.extend(file);
    }
    events.sort_by_key(|event| event.time);
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Keys;

    fn file(events: &[(i64, u64)]) -> Vec<Event> {
        let key = Keys::default().intern(b"key").expect("the first key");
        events.iter().map(|&(time, cost)| Event { time, cost, key }).collect()
    }

    #[test]
    fn pieces_of_a_rotated_log_give_the_same_in_any_order() {
        let pieces = [
            file(&[(1, 1), (5, 2)]),
            file(&[(5, 3), (5, 4)]),
            file(&[(5, 5), (9, 6), (8, 7)]),
            file(&[]),
        ];
        let expected = file(&[(1, 1), (5, 2), (5, 3), (5, 4), (5, 5), (8, 7), (9, 6)]);
        for first in 0..4 {
            for second in 0..4 {
                let mut order = pieces.to_vec();
                order.swap(0, first);
                order.swap(1, second);
                assert_eq!(by_time(order), expected);
            }
        }
    }

    #[test]
    fn equal_stamps_keep_the_order_of_files_and_lines() {
        let pieces = vec![file(&[(7, 1), (7, 2), (3, 3)]), file(&[(3, 4), (7, 5)])];
        assert_eq!(by_time(pieces), file(&[(3, 3), (3, 4), (7, 1), (7, 2), (7, 5)]));
    }
}
