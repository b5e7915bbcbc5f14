//! The delay of a `google.rpc.RetryInfo`, in gRPC's `grpc-status-details-bin`.

use std::time::Duration;

/// Reads the delay from the base64 of a `google.rpc.Status`; `None` if no detail of it is a `RetryInfo`, or its delay is negative or malformed.
pub(super) fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = base64(details)?;
    let mut details = WireMessage(&status).filter_map(|field| field.bytes(3));
    let retry_info = details.find_map(retry_info)?;
    let delay = WireMessage(retry_info)
        .find_map(|field| field.bytes(1))
        .unwrap_or_default();
    let number = |number| {
        WireMessage(delay)
            .find_map(|field| field.integer(number))
            .unwrap_or_default()
    };
    let seconds = i64::try_from(number(1)).ok()?;
    let nanos = u32::try_from(number(2)).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds.unsigned_abs(), nanos))
}

/// Returns the value of a `google.protobuf.Any` if it is a `RetryInfo`.
fn retry_info(any: &[u8]) -> Option<&[u8]> {
    let url = WireMessage(any).find_map(|field| field.bytes(1))?;
    let value = WireMessage(any).find_map(|field| field.bytes(2)).unwrap_or_default();
    url.ends_with(b"/google.rpc.RetryInfo").then_some(value)
}

/// The fields of a message in protobuf's encoding. They end where the message breaks off.
struct WireMessage<'a>(&'a [u8]);

struct WireField<'a> {
    number: u64,
    value: WireValue<'a>,
}

enum WireValue<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
    /// A number of fixed width, which no field that is read here has.
    Fixed,
}

impl<'a> WireField<'a> {
    fn bytes(&self, number: u64) -> Option<&'a [u8]> {
        match self.value {
            WireValue::Bytes(bytes) if self.number == number => Some(bytes),
            _ => None,
        }
    }

    fn integer(&self, number: u64) -> Option<u64> {
        match self.value {
            WireValue::Integer(integer) if self.number == number => Some(integer),
            _ => None,
        }
    }
}

impl<'a> WireMessage<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for WireMessage<'a> {
    type Item = WireField<'a>;

    fn next(&mut self) -> Option<WireField<'a>> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => WireValue::Integer(self.varint()?),
            1 => self.take(8).map(|_| WireValue::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| WireValue::Fixed)?,
            _ => return None,
        };
        let number = tag >> 3;
        Some(WireField { number, value })
    }
}

/// Decodes base64 with or without padding, as gRPC allows for binary metadata.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut text = text.trim_ascii();
    while let Some(shorter) = text.strip_suffix(b"=") {
        text = shorter;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut group = 0_u32;
        for character in chunk {
            group = group << 6 | sextet(*character)?;
        }
        group <<= 6 * (4 - chunk.len());
        let whole = match chunk.len() {
            1 => return None,
            length => length - 1,
        };
        bytes.extend_from_slice(&group.to_be_bytes()[1..=whole]);
    }
    Some(bytes)
}

fn sextet(character: u8) -> Option<u32> {
    let sextet = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(sextet.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by another encoder of protobuf.
    #[test]
    fn delays_equal_those_that_were_encoded() {
        let table = [
            (
                "CAgSCXNsb3cgZG93bho2Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgoKCAgBEIDKte4B",
                Some(1_500),
            ),
            // 32 s, after an `ErrorInfo`, with and without padding.
            (
                "CAgSCXNsb3cgZG93bhpBCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEhUKE1JBVEVfTElNSVRfRVhDRUVERUQaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIIA==",
                Some(32_000),
            ),
            (
                "CAgSCXNsb3cgZG93bhpBCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEhUKE1JBVEVfTElNSVRfRVhDRUVERUQaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIIA",
                Some(32_000),
            ),
            // 7 s, after unknown fields of fixed width.
            (
                "STEyMzQ1Njc4VTEyMzQICBIJc2xvdyBkb3duGjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAc=",
                Some(7_000),
            ),
            // No delay, which is one of 0.
            (
                "CAgSCXNsb3cgZG93bhosCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgA=",
                Some(0),
            ),
            // No `RetryInfo`; -1 s; a second of nanoseconds; a message that breaks off.
            (
                "CAgSCXNsb3cgZG93bhovCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuRXJyb3JJbmZvEgMKAVg=",
                None,
            ),
            (
                "CAgSCXNsb3cgZG93bho5Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEg0KCwj///////////8B",
                None,
            ),
            (
                "CAgSCXNsb3cgZG93bho2Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgoKCAgBEICU69wD",
                None,
            ),
            (
                "CAgSCXNsb3cgZG93bhowCih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgQKAgg=",
                None,
            ),
            ("", None),
            ("!", None),
            ("A", None),
        ];
        for (details, expected) in table {
            assert_eq!(
                retry_delay(details.as_bytes()),
                expected.map(Duration::from_millis),
                "{details}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_details_panic(details in "[A-Za-z0-9+/]{0,80}=?", bytes: Vec<u8>) {
            retry_delay(details.as_bytes());
            retry_delay(&bytes);
            WireMessage(&bytes).for_each(drop);
        }
    }
}
