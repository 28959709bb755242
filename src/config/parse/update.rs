//! How tasks are moved to another revision, and when everything holds still.

use gantry_core::{OnFailure, Share, UpdateOrder};

use super::{Outcome, integer_in, plain, wrong};

/// Most instances that a count may name, as in `INSTANCES_MAX`'s own limit.
const COUNT_MAX: i64 = 1_000_000;

/// `start-first`, `stop-first`.
pub(in crate::config) fn order(text: &str) -> Outcome<UpdateOrder> {
    match text.trim() {
        "start-first" => plain(UpdateOrder::StartFirst),
        "stop-first" => plain(UpdateOrder::StopFirst),
        _ => wrong("is not an order", "write start-first or stop-first"),
    }
}

/// `rollback`, `pause`.
pub(in crate::config) fn on_failure(text: &str) -> Outcome<OnFailure> {
    match text.trim() {
        "rollback" => plain(OnFailure::Rollback),
        "pause" => plain(OnFailure::Pause),
        _ => wrong("is not known", "write rollback or pause"),
    }
}

/// A number of instances, `3`, or a part of them, `50%`.
pub(in crate::config) fn share(text: &str) -> Outcome<Share> {
    let text = text.trim();
    let read = match text.strip_suffix('%') {
        Some(percent) => integer_in(percent, 0, 100).map(|parsed| Share::Percent(parsed.value)),
        None => integer_in(text, 0, COUNT_MAX).map(|parsed| Share::Count(parsed.value)),
    };
    match read {
        Ok(share) => plain(share),
        Err(_) => wrong(
            "is neither a number of instances nor a percentage from 0% to 100%",
            "write a number such as 3, or a percentage such as 50%",
        ),
    }
}

/// A percentage from 1% to 100% in thousandths; `None` for `off`.
pub(in crate::config) fn brake_share(text: &str) -> Outcome<Option<u32>> {
    let text = text.trim();
    if text == "off" {
        return plain(None);
    }
    let percent = text
        .strip_suffix('%')
        .and_then(|percent| integer_in::<u32>(percent, 1, 100).ok());
    match percent {
        Some(percent) => plain(Some(percent.value * 10)),
        None => wrong(
            "is not a percentage from 1% to 100%",
            "write one such as 50%, or off",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counts_or_percentages() {
        assert_eq!(share("3").unwrap().value, Share::Count(3));
        assert_eq!(share(" 50% ").unwrap().value, Share::Percent(50));
        assert_eq!(share("0").unwrap().value, Share::Count(0));
        for bad in ["", "%", "101%", "-1", "1.5", "half", "1000001", "300%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!(brake_share("50%").unwrap().value, Some(500));
        assert_eq!(brake_share("off").unwrap().value, None);
        for bad in ["0%", "50", "101%", "no", ""] {
            assert!(brake_share(bad).is_err(), "{bad}");
        }
    }
}
