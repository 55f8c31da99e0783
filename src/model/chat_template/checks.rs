//! Jinja's tests (`is ...`), where the engine's are others.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error as Failure, Value};

use super::arguments::failure;
use super::methods::is_namespace;
use super::objects::{Cycler, is_list};

/// Tests that the engine has and Jinja does not.
const FOREIGN: [&str; 4] = ["startingwith", "endingwith", "int", "safe"];

pub fn add(environment: &mut Environment) {
    for name in FOREIGN {
        environment.remove_test(name);
    }
    environment.add_test("callable", |value: &Value| match value.kind() {
        ValueKind::Plain => value.downcast_object_ref::<Cycler>().is_none(),
        kind => kind == ValueKind::Undefined,
    });
    environment.add_test("mapping", |value: &Value| {
        value.kind() == ValueKind::Map && !is_namespace(value)
    });
    environment.add_test("iterable", |value: &Value| is_iterable(value));
    environment.add_test("sequence", |value: &Value| {
        is_iterable(value) && (value.kind() != ValueKind::Iterable || is_list(value))
    });
    environment.add_test("odd", |value: &Value| {
        remainder(value, "odd").map(|n| n == 1.0)
    });
    environment.add_test("even", |value: &Value| {
        remainder(value, "even").map(|n| n == 0.0)
    });
}

fn is_iterable(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Undefined
            | ValueKind::String
            | ValueKind::Seq
            | ValueKind::Map
            | ValueKind::Iterable
    ) && !is_namespace(value)
}

/// The remainder of a number divided by 2.
fn remainder(value: &Value, test: &str) -> Result<f64, Failure> {
    let number = match value.kind() {
        ValueKind::Bool => f64::from(value.is_true()),
        ValueKind::Number if value.is_integer() => {
            value.as_i64().map_or(0.0, |n| n.rem_euclid(2) as f64)
        }
        ValueKind::Number => f64::try_from(value.clone())?,
        kind => {
            return Err(failure(format!(
                "the test `{test}` expects a number, found {kind}"
            )));
        }
    };
    Ok(number.rem_euclid(2.0))
}
