//! `COALESCE(list, '{}')`: the engine looks for a common type before anybody can give the literal one, so it is told to wait.

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

/// The engine's function, which takes literals beside arrays.
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
        let list = types.iter().find(|of| matches!(of, DataType::List(_)));
        let waits = types.iter().any(|of| matches!(of, DataType::Utf8));
        match list {
            Some(list) if waits => Ok(vec![list.clone(); types.len()]),
            _ => self.inner.coerce_types(types),
        }
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
