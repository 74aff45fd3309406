//! The order of text: by bytes, or as the source's collation has it, through sort keys that the engine compares by bytes.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StringViewBuilder},
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};
use icu_collator::{
    Collator, CollatorBorrowed,
    options::{CollatorOptions, Strength},
};
use icu_locale_core::Locale;

use super::size;

/// Field metadata that names a column's own collation.
pub const COLLATION_KEY: &str = "pg_collation";

/// `x COLLATE "name"`: a mark on `x` that whoever orders it looks at. A name of ours, which Postgres does not have.
pub(super) const COLLATE: &str = "pilaster_collate";

/// How text is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Collation {
    /// By its bytes, which is by code points.
    Bytes,
    /// By the rules of a locale of ICU; what these hold for equal, by its bytes.
    Locale(Arc<str>),
}

impl Collation {
    /// The default of a database, by `datlocprovider` and its locale. A locale of the C library is taken to be ICU's of the same
    /// name, which is the nearest that there is.
    #[must_use]
    pub fn of_database(provider: &str, locale: &str) -> Self {
        let is_bytes = matches!(locale, "" | "C" | "POSIX" | "C.UTF-8" | "C.utf8" | "C.UTF8");
        if provider != "icu" && is_bytes {
            return Self::Bytes;
        }
        let name = locale.split('.').next().unwrap_or(locale).replace('_', "-");
        Self::Locale(name.into())
    }

    /// Of the name in `COLLATE`, or of a column's own; none where Postgres has no such thing by default.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.rsplit_once("pg_catalog.").map_or(name, |(_, name)| name);
        if matches!(name, "C" | "POSIX" | "ucs_basic" | "C.UTF-8" | "C.utf8") {
            return Some(Self::Bytes);
        }
        let locale = name.strip_suffix("-x-icu").or_else(|| name.split('.').next())?.replace('_', "-");
        let is_known = locale.parse::<Locale>().is_ok() && (name.ends_with("-x-icu") || name.contains(".utf8"));
        is_known.then(|| Self::Locale(if locale == "unicode" { "und".into() } else { locale.into() }))
    }
}

/// Bytes that order as the text does in `locale`: the collator's key, and the text's own bytes for what that holds for equal.
pub(super) fn sort_key(locale: &Arc<str>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(SortKey { locale: Arc::clone(locale), collator: collator(locale), signature }))
}

/// A locale that ICU does not know falls back to its root, as it does in Postgres.
fn collator(locale: &str) -> Option<CollatorBorrowed<'static>> {
    let mut options = CollatorOptions::default();
    options.strength = Some(Strength::Tertiary);
    let locale: Locale = locale.parse().ok()?;
    Collator::try_new((&locale).into(), options).ok()
}

struct SortKey {
    locale: Arc<str>,
    collator: Option<CollatorBorrowed<'static>>,
    signature: Signature,
}

impl std::fmt::Debug for SortKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SortKey({})", self.locale)
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.locale == other.locale
    }
}

impl Eq for SortKey {}

impl Hash for SortKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.locale.hash(state);
    }
}

impl SortKey {
    fn write(&self, text: &str, key: &mut Vec<u8>) {
        key.clear();
        match &self.collator {
            Some(collator) => {
                let Ok(_) = collator.write_sort_key_to(text, key);
                // No key has a zero inside, so that none is the beginning of another.
                key.push(0);
                key.extend_from_slice(text.as_bytes());
            }
            None => key.extend_from_slice(text.as_bytes()),
        }
    }
}

impl SortKey {
    fn keys(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let texts = cast(texts, &DataType::Utf8View)?;
        size::bound(&texts, "the order of texts")?;
        let mut keys = StringViewBuilder::with_capacity(texts.len());
        let (mut key, mut spelled, mut last) = (Vec::new(), String::new(), None);
        for text in texts.as_string_view() {
            match text {
                None => keys.append_null(),
                Some(text) => {
                    // Texts come in runs where the rows are in their order.
                    if last != Some(text) {
                        self.write(text, &mut key);
                        spelled.clear();
                        spell(&key, &mut spelled);
                        last = Some(text);
                    }
                    keys.append_value(&spelled);
                }
            }
        }
        Ok(Arc::new(keys.finish()))
    }
}

/// Windows are only framed by what is text: letters order as the bytes do that they stand for.
pub(super) fn spell(bytes: &[u8], letters: &mut String) {
    letters.extend(bytes.iter().copied().map(char::from));
}

impl ScalarUDFImpl for SortKey {
    fn name(&self) -> &'static str {
        "pilaster_sort_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.iter().map(key_type).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().map_or_else(|| exec_err!("a sort key is of one text"), |of| Ok(key_type(of)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else { return exec_err!("a sort key is of one text") };
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let array = value.clone().into_array(if is_scalar { 1 } else { arguments.number_rows })?;
        let keys = match array.as_list_opt::<i32>() {
            Some(lists) => {
                let DataType::List(item) = key_type(array.data_type()) else { return exec_err!("a list is one") };
                let lists = size::own_elements(lists);
                let keys = self.keys(lists.values())?;
                Arc::new(ListArray::try_new(item, lists.offsets().clone(), keys, lists.nulls().cloned())?)
            }
            None => self.keys(&array)?,
        };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&keys, 0)?));
        }
        Ok(ColumnarValue::Array(keys))
    }
}

/// A list of texts has a list of keys.
fn key_type(of: &DataType) -> DataType {
    match of {
        DataType::List(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
        _ => DataType::Utf8View,
    }
}

/// The mark itself, which is gone before anything runs.
pub(super) fn collate() -> ScalarUDF {
    ScalarUDF::from(Collate { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collate {
    signature: Signature,
}

impl ScalarUDFImpl for Collate {
    fn name(&self) -> &'static str {
        COLLATE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type, _] => Ok(data_type.clone()),
            _ => exec_err!("a text has one collation"),
        }
    }

    /// The mark is a column's own, too, for whoever orders by it farther out.
    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let ([field, _], [_, Some(ScalarValue::Utf8(Some(name)))]) = (arguments.arg_fields, arguments.scalar_arguments)
        else {
            return exec_err!("a text has one collation");
        };
        let mut metadata = field.metadata().clone();
        metadata.insert(COLLATION_KEY.to_owned(), name.clone());
        Ok(Arc::new(field.as_ref().clone().with_metadata(metadata)))
    }

    fn simplify(&self, mut arguments: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        arguments.truncate(1);
        match arguments.pop() {
            Some(text) => Ok(ExprSimplifyResult::Simplified(text)),
            None => exec_err!("a text has one collation"),
        }
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        arguments.args.truncate(1);
        arguments.args.pop().map_or_else(|| exec_err!("a text has one collation"), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_icu_does() {
        let check = |locale: &str, texts: &[&str]| {
            let of = SortKey {
                locale: locale.into(),
                collator: collator(locale),
                signature: Signature::user_defined(Volatility::Immutable),
            };
            let keys: Vec<Vec<u8>> = texts
                .iter()
                .map(|text| {
                    let mut key = Vec::new();
                    of.write(text, &mut key);
                    key
                })
                .collect();
            assert!(keys.is_sorted_by(|left, right| left < right), "{locale}: {texts:?}");
        };
        check("en-US", &["", "_", "1", "a", "A", "á", "ab", "b", "B", "é", "f", "z", "日"]);
        check("sv", &["a", "z", "å", "ä", "ö"]);
        check("de", &["a", "ä", "z"]);
    }

    #[test]
    fn collations_are_known_by_their_names() {
        let check = |provider: &str, locale: &str, expect: Option<&str>| {
            let expect = expect.map_or(Collation::Bytes, |name| Collation::Locale(name.into()));
            assert_eq!(Collation::of_database(provider, locale), expect);
        };
        check("libc", "C", None);
        check("libc", "C.UTF-8", None);
        check("libc", "en_US.UTF-8", Some("en-US"));
        check("icu", "de-DE", Some("de-DE"));
        assert_eq!(Collation::named("C"), Some(Collation::Bytes));
        assert_eq!(Collation::named("pg_catalog.de-x-icu"), Some(Collation::Locale("de".into())));
        assert_eq!(Collation::named("nonsense"), None);
    }
}
