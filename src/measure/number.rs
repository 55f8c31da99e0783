//! How figures are written for a reader: few digits, thousands apart, units that fit.

/// `value` with `digits` significant digits, trailing zeros kept so that a column lines up.
pub fn significant(value: f64, digits: usize) -> String {
    let Some((rounded, exponent)) = rounded(value, digits) else {
        return "–".into();
    };
    if rounded != 0.0 && !(-6..15).contains(&exponent) {
        return format!("{rounded:e}");
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    with_thousands(&format!("{rounded:.decimals$}"))
}

/// `value` with three significant digits, trailing zeros dropped: for the ticks of an axis.
pub fn short(value: f64) -> String {
    let text = significant(value, 3);
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// A percentage with one decimal.
pub fn percent(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1} %")
    } else {
        "–".into()
    }
}

/// Microseconds, in the unit that keeps the figure below a thousand.
pub fn microseconds(value: f64) -> String {
    if value.abs() < 1e3 {
        format!("{} µs", significant(value, 4))
    } else if value.abs() < 1e6 {
        format!("{} ms", significant(value / 1e3, 4))
    } else {
        format!("{} s", significant(value / 1e6, 4))
    }
}

/// Bytes in binary units; whole figures stay whole.
pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", whole_or_short(scaled), UNITS[unit])
}

/// `512` and `1020` stay as they are where three digits would round them.
fn whole_or_short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        with_thousands(&format!("{value:.0}"))
    } else {
        short(value)
    }
}

/// A count with its thousands apart.
pub fn count(value: u64) -> String {
    with_thousands(&value.to_string())
}

/// The value rounded to `digits`, and the power of ten of its first digit.
fn rounded(value: f64, digits: usize) -> Option<(f64, i32)> {
    if !value.is_finite() {
        return None;
    }
    let text = format!("{value:.*e}", digits.saturating_sub(1));
    let exponent = text.split_once('e')?.1.parse().ok()?;
    Some((text.parse().ok()?, exponent))
}

/// Commas between the thousands of the whole part of a decimal number.
fn with_thousands(number: &str) -> String {
    let digits_from = usize::from(number.starts_with('-'));
    let whole_to = number.find('.').unwrap_or(number.len());
    let mut text = String::with_capacity(number.len() + 4);
    for (at, digit) in number.char_indices() {
        if at > digits_from && at < whole_to && (whole_to - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits() {
        assert_eq!(significant(1234567.0, 4), "1,235,000");
        assert_eq!(significant(999.96, 4), "1,000");
        assert_eq!(significant(-1234.5, 5), "-1,234.5");
        assert_eq!(significant(0.012344, 3), "0.0123");
        assert_eq!(significant(2.0, 3), "2.00");
        assert_eq!(significant(0.0, 3), "0.00");
        assert_eq!(significant(f64::NAN, 3), "–");
    }

    #[test]
    fn units() {
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(20000.0), "20,000");
        assert_eq!(bytes(1048576.0), "1 MiB");
        assert_eq!(bytes(1000.0), "1,000 B");
        assert_eq!(bytes(1.5 * 1073741824.0), "1.5 GiB");
        assert_eq!(microseconds(12.3456), "12.35 µs");
        assert_eq!(microseconds(12345.6), "12.35 ms");
        assert_eq!(percent(f64::NAN), "–");
    }
}
