//! `COALESCE(date, '2024-12-01')`: the engine looks for a common type before anybody can give the literal one, so it is told to wait.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

use super::{PG_TYPE_KEY, function::Kind};

/// The engine's function, which takes literals beside what they are to be read as.
pub(super) fn of_one_type(inner: Arc<ScalarUDF>) -> ScalarUDF {
    ScalarUDF::from(Lenient { inner, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lenient {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Lenient {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        beside_literals(types, |known| self.inner.coerce_types(known))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let named =
            arguments.arg_fields.iter().find(|field| field.metadata().contains_key(PG_TYPE_KEY)).map(Arc::clone);
        let field = self.inner.return_field_from_args(arguments)?;
        // The engine forgets what the type is called.
        Ok(
            match named
                .filter(|named| matches!(Kind::of_field(named), Kind::Json | Kind::Jsonb | Kind::Uuid | Kind::Enum))
            {
                Some(named) if named.data_type() == field.data_type() => {
                    Arc::new(field.as_ref().clone().with_metadata(named.metadata().clone()))
                }
                _ => field,
            },
        )
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(arguments)
    }

    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(arguments, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, arguments: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(arguments)
    }
}

/// The types that values are coerced to where literals stand beside others. A literal is of no type yet, unless there is nothing but
/// literals; NULL never is.
pub(super) fn beside_literals(
    types: &[DataType],
    coerce: impl Fn(&[DataType]) -> Result<Vec<DataType>>,
) -> Result<Vec<DataType>> {
    let is_literal = |of: &DataType| matches!(of, DataType::Utf8 | DataType::Null);
    let known: Vec<DataType> = types.iter().filter(|of| !is_literal(of)).cloned().collect();
    if known.is_empty() || !types.contains(&DataType::Utf8) {
        return coerce(types);
    }
    let made = match known.iter().find(|of| matches!(of, DataType::List(_))) {
        Some(list) => vec![list.clone(); known.len()],
        None => coerce(&known)?,
    };
    let common = made.first().cloned().unwrap_or(DataType::Null);
    let mut made = made.into_iter();
    let of = |of: &DataType| if is_literal(of) { None } else { made.next() };
    Ok(types.iter().map(of).map(|of| of.unwrap_or_else(|| common.clone())).collect())
}
