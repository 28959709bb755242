//! Numbers and booleans, with the original's readings of half-numbers.

use gantry_core::Amount;

use super::{Outcome, doubtful, plain, wrong};

/// Most processor shares of one task; more is a slip of the pen.
const CPUS_MAX: f64 = 100_000.0;
/// Most task definitions.
const DEFINITIONS_MAX: i64 = 1_000;
/// Most instances of one declaration, as in `INSTANCES_MAX`'s own limit.
const INSTANCES_MAX: i64 = 1_000_000;

/// The original's rule: `true`, `1` or any other text that is completely a decimal number different
/// from zero is true; every other text is false, whatever the default. Blank text never gets here.
pub(in crate::config) fn boolean(text: &str) -> Outcome<bool> {
    let word = text.trim().to_lowercase();
    if word == "true" {
        return plain(true);
    }
    match decimal_prefix(&word) {
        Some((number, "")) => plain(number.is_finite() && number != 0.0),
        _ if word == "false" => plain(false),
        _ => doubtful(
            false,
            "is read as false, as only true, 1 and other numbers but 0 are true",
            "write true or false",
        ),
    }
}

/// The decimal number a text begins with (after blanks), and what follows it.
fn decimal_prefix(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(sign);
    let mut end = sign + whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent_sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + exponent_sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + exponent_sign + exponent;
        }
    }
    let number = text[..end].parse().ok()?;
    Some((number, &text[end..]))
}

/// The integer a text begins with (after blanks), and what follows it. Huge ones are cut to the
/// limits of the type.
fn integer_prefix(text: &str) -> Option<(i64, &str)> {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let (number, rest) = text.split_at(sign + digits);
    let limit = if number.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Some((number.parse().unwrap_or(limit), rest))
}

/// A whole number from `min` to `max`; as in the original what follows the digits is ignored.
pub(in crate::config) fn whole_prefix<T>(text: &str, min: i64, max: i64) -> Outcome<T>
where
    T: TryFrom<i64>,
{
    let remedy = format!("write a whole number from {min} to {max}");
    let Some((number, rest)) = integer_prefix(text) else {
        return wrong("is not a number", remedy);
    };
    if !(min..=max).contains(&number) {
        return wrong(format!("is not from {min} to {max}"), remedy);
    }
    let Ok(value) = T::try_from(number) else {
        return wrong("is too large", remedy);
    };
    if rest.trim().is_empty() {
        plain(value)
    } else {
        doubtful(value, format!("is read as {number}"), remedy)
    }
}

/// A whole number from `min` to `max` and nothing else.
pub(in crate::config) fn integer_in<T>(text: &str, min: i64, max: i64) -> Outcome<T>
where
    T: TryFrom<i64>,
{
    let parsed = whole_prefix(text, min, max)?;
    match parsed.warning {
        None => Ok(parsed),
        Some(warning) => wrong("is not a whole number", warning.remedy),
    }
}

/// `TASK_DEF_NUM`.
pub(in crate::config) fn definitions(text: &str) -> Outcome<u32> {
    whole_prefix(text, 0, DEFINITIONS_MAX)
}

/// `TASK#_NUM_INSTANCES`: how often a loop from 1 to the value runs, and the text itself.
pub(in crate::config) fn instances(text: &str) -> Outcome<(u32, String)> {
    let remedy = "write a whole number such as 3; 0 for none";
    let raw = text.to_owned();
    match decimal_prefix(text.trim()) {
        Some((number, "")) if number > INSTANCES_MAX as f64 => wrong(
            format!("is more than {INSTANCES_MAX}"),
            "write a smaller number",
        ),
        Some((number, "")) if number < 0.0 => {
            doubtful((0, raw), "is negative: no task is started", remedy)
        }
        Some((number, "")) if number.fract() == 0.0 => plain((number as u32, raw)),
        Some((number, "")) => {
            let count = number as u32;
            doubtful((count, raw), format!("is read as {count}"), remedy)
        }
        _ => doubtful((0, raw), "is not a number: no task is started", remedy),
    }
}

/// Processor shares, to the thousandth.
pub(in crate::config) fn cpus(text: &str) -> Outcome<Amount> {
    let remedy = "write processor shares such as 0.5 or 2";
    match decimal_prefix(text) {
        None => wrong("is not a number", remedy),
        Some((number, _)) if number.is_sign_negative() && number != 0.0 => {
            wrong("is negative", remedy)
        }
        Some((number, _)) if number > CPUS_MAX => wrong(format!("is more than {CPUS_MAX}"), remedy),
        Some((number, _)) if number != 0.0 && Amount::from_f64(number).is_zero() => wrong(
            "is less than a thousandth, the smallest share Mesos knows",
            remedy,
        ),
        Some((number, rest)) => {
            let amount = Amount::from_f64(number);
            if rest.trim().is_empty() {
                plain(amount)
            } else {
                doubtful(amount, format!("is read as {amount}"), remedy)
            }
        }
    }
}

/// A factor of at least one, in thousandths.
pub(in crate::config) fn factor(text: &str) -> Outcome<u32> {
    match decimal_prefix(text) {
        Some((number, rest)) if rest.trim().is_empty() && (1.0..=1000.0).contains(&number) => {
            plain((number * 1000.0).round() as u32)
        }
        _ => wrong(
            "is not a factor from 1 to 1000",
            "write a number such as 2 or 1.15",
        ),
    }
}

/// `8080,9090`: ports, sorted by number.
pub(in crate::config) fn fixed_ports(text: &str) -> Outcome<Vec<u16>> {
    let remedy = "write host ports separated by commas, such as 8080,9090, or leave it unset";
    let inner = text.trim();
    if inner.starts_with('<') {
        return wrong("is still the placeholder of the sample", remedy);
    }
    let inner = inner
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(inner);
    if inner.trim().is_empty() {
        return plain(Vec::new());
    }
    let mut ports = Vec::new();
    for entry in inner.split(',').map(str::trim) {
        match entry.parse::<u16>() {
            Ok(port) if port > 0 && entry.bytes().all(|b| b.is_ascii_digit()) => ports.push(port),
            _ => {
                let entry = crate::config::report::shown(entry, false);
                return wrong(format!("has {entry}, which is not a port"), remedy);
            }
        }
    }
    ports.sort_unstable();
    match ports.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => wrong(format!("names port {} twice", pair[0]), remedy),
        None => plain(ports),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_boolean_rule_is_the_originals() {
        for text in [
            "true", "TRUE", " True ", "1", "-1", "1.0", "1e3", ".04", "+2", "1.",
        ] {
            assert!(boolean(text).unwrap().value, "{text}");
        }
        for text in [
            "false", "0", "-0", "0.0", "yes", "no", "on", "infinity", "0x1", "1 2", ".",
        ] {
            assert!(!boolean(text).unwrap().value, "{text}");
        }
        assert!(boolean("yes").unwrap().warning.is_some());
        assert!(boolean("False").unwrap().warning.is_none());
    }

    #[test]
    fn counts_keep_their_text_and_never_fail_but_for_size() {
        let count = |text: &str| instances(text).unwrap().value.0;
        assert_eq!(count("3"), 3);
        assert_eq!(count("2.7"), 2);
        assert_eq!(count("1e1"), 10);
        assert_eq!(
            (count("0"), count("-3"), count("many"), count("3x")),
            (0, 0, 0, 0)
        );
        assert_eq!(instances(" 2.7").unwrap().value.1, " 2.7");
        assert!(instances("0").unwrap().warning.is_none());
        assert!(instances("many").unwrap().warning.is_some());
        assert!(instances("1e300").is_err());
    }

    #[test]
    fn half_numbers_are_read_with_a_warning_and_no_numbers_refused() {
        let read = cpus("0.5x").unwrap();
        assert_eq!(
            (read.value, read.warning.is_some()),
            (Amount::from_f64(0.5), true)
        );
        assert_eq!(cpus("1e-1").unwrap().value, Amount::from_f64(0.1));
        for bad in ["half", "-1", "1e9", "NaN", "inf", "0.0001", ""] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert_eq!(definitions("2 or so").unwrap().value, 2);
        assert!(definitions("two").is_err() && definitions("1001").is_err());
        assert!(integer_in::<u32>("2x", 0, 9).is_err());
        assert_eq!(factor("1.15").unwrap().value, 1150);
        assert!(factor("0.5").is_err() && factor("2x").is_err());
    }

    #[test]
    fn the_placeholder_of_the_sample_is_recognised() {
        assert!(
            fixed_ports("<PORTS>")
                .unwrap_err()
                .reason
                .contains("placeholder")
        );
    }

    proptest! {
        #[test]
        fn every_number_but_zero_is_true(number in any::<f64>()) {
            prop_assume!(number.is_finite());
            prop_assert_eq!(boolean(&format!("{number:?}")).unwrap().value, number != 0.0);
        }

        #[test]
        fn nothing_makes_the_number_parsers_panic(text in "[-+.0-9eE xé,\\[\\]<>]{0,12}") {
            let _ = (boolean(&text), instances(&text), cpus(&text), factor(&text));
            let _ = (fixed_ports(&text), whole_prefix::<u16>(&text, 0, 9));
        }

        #[test]
        fn ports_come_back_sorted_by_number(
            ports in proptest::collection::btree_set(1u16.., 1..20),
            seed in any::<u64>(),
        ) {
            let mut shuffled: Vec<_> = ports.iter().copied().collect();
            shuffled.sort_by_key(|port| u64::from(*port).wrapping_mul(seed | 1));
            let text = shuffled.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(fixed_ports(&text).unwrap().value, ports.into_iter().collect::<Vec<_>>());
            let twice = format!("{text},{}", shuffled[0]);
            prop_assert!(fixed_ports(&twice).is_err());
        }
    }
}
