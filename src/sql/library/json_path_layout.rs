//! Where an object of a document is in the bytes that Postgres keeps it in: `.keyvalue()` shows that as its identity.

use super::json_value::Json;

/// The heads of a container and of each entry.
const HEAD: usize = 4;

/// How far behind the start of `root` this very object is; nothing where it is not in it.
pub(super) fn offset_of(root: &Json<'_>, object: &Json<'_>) -> Option<usize> {
    place(root, object, &mut 0)
}

/// Goes over a value as it is laid out, with `at` at the end of what is before it.
fn place(value: &Json<'_>, object: &Json<'_>, at: &mut usize) -> Option<usize> {
    match value {
        Json::Null | Json::Bool(_) => None,
        Json::String(text) => {
            *at += text.len();
            None
        }
        Json::Number(digits) => {
            *at = at.next_multiple_of(HEAD) + numeric_size(digits);
            None
        }
        Json::Array(elements) => {
            *at = at.next_multiple_of(HEAD) + HEAD + HEAD * elements.len();
            elements.iter().find_map(|element| place(element, object, at))
        }
        Json::Object(members) => {
            *at = at.next_multiple_of(HEAD);
            if std::ptr::eq(value, object) {
                return Some(*at);
            }
            *at += HEAD + 2 * HEAD * members.len();
            *at += members.iter().map(|(key, _)| key.len()).sum::<usize>();
            members.iter().find_map(|(_, value)| place(value, object, at))
        }
    }
}

/// The bytes of a `numeric`: its length, a head of two or four, two for each four digits.
fn numeric_size(digits: &str) -> usize {
    let digits = digits.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole_groups = whole.len().div_ceil(4);
    let mut groups: Vec<bool> = Vec::new();
    let is_used = |group: &[u8]| group.iter().any(|digit| *digit != b'0');
    let (first, others) = whole.as_bytes().split_at(whole.len() - 4 * whole.len().div_ceil(4).saturating_sub(1));
    if !first.is_empty() {
        groups.push(is_used(first));
    }
    groups.extend(others.chunks(4).map(is_used));
    groups.extend(fraction.as_bytes().chunks(4).map(is_used));
    let leading = groups.iter().take_while(|is_used| !**is_used).count();
    let trailing = groups.iter().skip(leading).rev().take_while(|is_used| !**is_used).count();
    let count = groups.len() - leading - trailing;
    // The group of ones has the weight 0.
    let is_short = fraction.len() <= 63 && (count == 0 || (whole_groups <= 64 && leading <= 64 + whole_groups));
    HEAD + if is_short { 2 } else { 4 } + 2 * count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::library::json_text::read;

    #[test]
    fn objects_are_found() {
        let root = read(r#"[1, {"a": {"b": 2.50}}]"#).unwrap();
        let Json::Array(elements) = &root else { panic!("no array") };
        assert_eq!(offset_of(&root, &root), None);
        assert_eq!(offset_of(&root, &elements[1]), Some(20));
        assert_eq!(elements[1].member("a").and_then(|inner| offset_of(&root, inner)), Some(36));
    }
}
