//! Durations and sizes, with their units written.

use std::time::Duration;

use gantry_core::Amount;

use super::{Outcome, doubtful, plain, wrong};

/// Most memory or disk of one task, in megabytes: an exabyte.
const MEGABYTES_MAX: u64 = 1 << 40;

/// The units of time and their milliseconds, longest first; `ms` before `m` and `s`.
const TIME_UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1000),
];

/// `30s`, `500ms`, `1h30m`: whole numbers with `ms`, `s`, `m`, `h`, `d` or `w`. A bare number only
/// when it is 0.
pub(in crate::config) fn duration_in(
    text: &str,
    min: Duration,
    max: Duration,
) -> Outcome<Duration> {
    let remedy = "write whole numbers with a unit (ms, s, m, h, d, w), such as 30s or 1h30m";
    let mut rest = text.trim();
    if rest.is_empty() {
        return wrong("is empty", remedy);
    }
    let mut millis = 0u64;
    if rest == "0" {
        rest = "";
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return wrong("is not a duration", remedy);
        }
        let Some((unit, factor)) = TIME_UNITS.iter().find(|(unit, _)| after.starts_with(unit))
        else {
            let reason = if after.is_empty() {
                "has no unit"
            } else {
                "is not a duration"
            };
            return wrong(reason, remedy);
        };
        let part = number.parse::<u64>().unwrap_or(u64::MAX);
        millis = millis.saturating_add(part.saturating_mul(*factor));
        rest = &after[unit.len()..];
    }
    let value = Duration::from_millis(millis);
    if value < min {
        return wrong(format!("is shorter than {}", in_words(min)), remedy);
    }
    if value > max {
        return wrong(format!("is longer than {}", in_words(max)), remedy);
    }
    plain(value)
}

/// A duration as [`duration_in`] reads it.
pub(crate) fn in_words(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in [
        TIME_UNITS[0],
        TIME_UNITS[1],
        TIME_UNITS[2],
        TIME_UNITS[4],
        TIME_UNITS[5],
        TIME_UNITS[3],
    ] {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() {
        "0".to_owned()
    } else {
        text
    }
}

/// A number and the bytes of its unit; powers of 1024 however the unit is spelt, because that is
/// what Mesos calls a megabyte. `None` when the unit is none.
fn bytes(text: &str) -> Option<f64> {
    let digits = text
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let power = match unit {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(number * 1024f64.powi(power))
}

/// Memory or disk in megabytes: `512` (megabytes; a fraction is cut off, as in the original),
/// `512MB`, `512MiB`, `1.5GiB`.
pub(in crate::config) fn megabytes(text: &str) -> Outcome<Amount> {
    let text = text.trim();
    let remedy = "write megabytes such as 512, or a number with a unit, such as 512MiB or 1GiB";
    if let Some(bytes) = bytes(text) {
        let megabytes = bytes / 1_048_576.0;
        if megabytes > MEGABYTES_MAX as f64 {
            return wrong("is more than an exabyte", remedy);
        }
        let amount = Amount::from_f64(megabytes);
        if amount.is_zero() && megabytes > 0.0 {
            return wrong("is less than a thousandth of a megabyte", remedy);
        }
        return plain(amount);
    }
    let parsed = super::whole_prefix::<u64>(text, 0, MEGABYTES_MAX as i64);
    match parsed {
        Err(_) => wrong("is not a size", remedy),
        Ok(parsed) => {
            let amount = Amount::from_units(parsed.value);
            match parsed.warning {
                None => plain(amount),
                Some(_) => doubtful(
                    amount,
                    format!("is read as {} megabytes", parsed.value),
                    remedy,
                ),
            }
        }
    }
}

/// A number of bytes with its unit: `64KiB`, `1MiB`.
pub(in crate::config) fn size_in(text: &str, min: usize, max: usize) -> Outcome<usize> {
    let remedy = "write a number with a unit, such as 64KiB or 1MiB";
    match bytes(text.trim()) {
        None => wrong("is not a size with a unit", remedy),
        Some(bytes) if bytes < min as f64 || bytes > max as f64 => {
            wrong(format!("is not from {min} to {max} bytes"), remedy)
        }
        Some(bytes) => plain(bytes as usize),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(u64::MAX / 1000);

    fn duration(text: &str) -> Option<Duration> {
        duration_in(text, Duration::ZERO, LONG)
            .ok()
            .map(|parsed| parsed.value)
    }

    #[test]
    fn durations_need_their_units() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration(" 1h30m "), Some(Duration::from_secs(5400)));
        assert_eq!(duration("1w"), Some(Duration::from_secs(604_800)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for bad in ["30", "", "s", "1.5s", "-1s", "1 s", "1y", "+1s", "30s5"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(
            duration_in("30", Duration::ZERO, LONG).unwrap_err().reason,
            "has no unit"
        );
        let limited = |text| duration_in(text, Duration::from_secs(1), Duration::from_secs(90));
        assert_eq!(limited("999ms").unwrap_err().reason, "is shorter than 1s");
        assert_eq!(limited("2m").unwrap_err().reason, "is longer than 1m30s");
        assert_eq!(
            limited("99999999999999999999w").unwrap_err().reason,
            "is longer than 1m30s"
        );
    }

    #[test]
    fn sizes_count_in_1024s_however_they_are_spelt() {
        let read = |text: &str| megabytes(text).ok().map(|parsed| parsed.value.as_f64());
        for text in ["512", "512MB", "512 MiB", "512m", "0.5GiB", "524288k"] {
            assert_eq!(read(text), Some(512.0), "{text}");
        }
        assert_eq!(read("64.9"), Some(64.0));
        assert!(megabytes("64.9").unwrap().warning.is_some());
        assert_eq!(read("1TiB"), Some(1_048_576.0));
        for bad in [
            "",
            "much",
            "-5",
            "1e400",
            "99999999TB",
            "99999999999999999999",
            ".",
        ] {
            let read = read(bad);
            assert!(
                read.is_none() || bad == "1e400" && read == Some(1.0),
                "{bad} {read:?}"
            );
        }
        assert_eq!(size_in("64KiB", 0, 1 << 20).unwrap().value, 65_536);
        assert!(size_in("64", 0, 1 << 20).is_err() && size_in("2MiB", 0, 1 << 20).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0u64..10_000_000_000_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&in_words(value)), Some(value));
        }

        #[test]
        fn bare_and_suffixed_megabytes_agree(number in 0u64..1 << 40) {
            let bare = megabytes(&number.to_string()).unwrap();
            prop_assert!(bare.warning.is_none());
            prop_assert_eq!(bare.value, megabytes(&format!("{number}MiB")).unwrap().value);
        }

        #[test]
        fn nothing_makes_the_unit_parsers_panic(text in "[-+.0-9a-zA-Zé ]{0,12}") {
            let _ = (duration(&text), megabytes(&text), size_in(&text, 0, 9));
        }
    }
}
