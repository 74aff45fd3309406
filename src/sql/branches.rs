//! `COALESCE(list, '{}')`: the engine looks for a common type before anybody can give the literal one, so it is told to wait.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::{Result, internal_err, plan_err},
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility,
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

/// `value` of the type that it has where it is compared with another: what `NULLIF` gives. A name of ours, which Postgres does not have.
pub(super) fn as_compared() -> ScalarUDF {
    ScalarUDF::from(AsCompared { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AsCompared {
    signature: Signature,
}

impl ScalarUDFImpl for AsCompared {
    fn name(&self) -> &'static str {
        "pilaster_as_compared"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type depends on the arguments' fields")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [value, other] = arguments.arg_fields else { return plan_err!("a value and what it is compared with") };
        let kinds = [Kind::of_field(value), Kind::of_field(other)];
        let is_whole = matches!(kinds[0], Kind::Int2 | Kind::Int4 | Kind::Int8);
        let data_type = match kinds[1] {
            Kind::Float4 | Kind::Float8 if is_whole || kinds[0] == Kind::Numeric => DataType::Float64,
            Kind::Numeric if is_whole => DataType::Decimal128(19, 0),
            // A literal takes the other's type, and is text beside another.
            _ if kinds[0] == Kind::Unknown && kinds[1] == Kind::Unknown => DataType::Utf8View,
            _ if kinds[0] == Kind::Unknown => return Ok(Arc::clone(other)),
            _ => return Ok(Arc::clone(value)),
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn simplify(&self, mut arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let fields = arguments
            .iter()
            .map(|argument| argument.to_field(info.schema()).map(|(_, field)| field))
            .collect::<Result<Vec<_>>>()?;
        let nothing = vec![None; fields.len()];
        let to = self.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &nothing })?;
        let value = arguments.swap_remove(0);
        Ok(ExprSimplifyResult::Simplified(match fields[0].data_type() == to.data_type() {
            true => value,
            false => Expr::Cast(Cast::new_from_field(Box::new(value), to)),
        }))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        arguments.args.swap_remove(0).cast_to(arguments.return_field.data_type(), None)
    }
}
