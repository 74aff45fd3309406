//! Values that are of another type than the engine says, or that it has forgotten the name of. Names of ours, which Postgres does not
//! have; none of them is there when a plan runs.

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

use super::{elements::said, function::Kind};

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let marks = [
        ("pilaster_said_json", Says::Kind(Kind::Json)),
        ("pilaster_said_jsonb", Says::Kind(Kind::Jsonb)),
        ("pilaster_said_like", Says::Like),
        ("pilaster_as_compared", Says::Compared),
    ];
    marks.into_iter().map(|(name, says)| {
        let arguments = if matches!(says, Says::Kind(_)) { 1 } else { 2 };
        ScalarUDF::from(Mark { name, says, signature: Signature::any(arguments, Volatility::Immutable) })
    })
}

/// What the first argument is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Says {
    /// What has come out of an array of this type.
    Kind(Kind),
    /// `CASE … END`, by one of its branches.
    Like,
    /// What `NULLIF` gives: the type that the value has where it is compared with the other.
    Compared,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    name: &'static str,
    says: Says,
    signature: Signature,
}

impl Mark {
    fn field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        Ok(match (self.says, fields) {
            (Says::Kind(kind), [_]) => kind.field(&"UTC".into(), (38, 10)),
            (Says::Like, [value, branch]) => {
                let is_said = matches!(Kind::of_field(branch), Kind::Json | Kind::Jsonb | Kind::Uuid | Kind::Enum);
                match is_said && value.data_type() == branch.data_type() {
                    true => said(value, branch),
                    false => Arc::clone(value),
                }
            }
            (Says::Compared, [value, other]) => compared(value, other),
            _ => return plan_err!("{} is of one value", self.name),
        })
    }
}

fn compared(value: &FieldRef, other: &FieldRef) -> FieldRef {
    let kinds = [Kind::of_field(value), Kind::of_field(other)];
    let is_whole = matches!(kinds[0], Kind::Int2 | Kind::Int4 | Kind::Int8);
    let data_type = match kinds {
        [_, Kind::Float4 | Kind::Float8] if is_whole || kinds[0] == Kind::Numeric => DataType::Float64,
        [_, Kind::Numeric] if is_whole => DataType::Decimal128(19, 0),
        // A literal takes the other's type, and is text beside another.
        [Kind::Unknown, Kind::Unknown] => DataType::Utf8View,
        [Kind::Unknown, _] => return Arc::clone(other),
        // It is of text that there is an operator.
        [Kind::Varchar | Kind::Name, _] => return Kind::Text.field(&"UTC".into(), (38, 10)),
        _ => return Arc::clone(value),
    };
    Arc::new(Field::new("", data_type, true))
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type depends on the arguments' fields")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.field(arguments.arg_fields)
    }

    fn simplify(&self, mut arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let fields = arguments
            .iter()
            .map(|argument| argument.to_field(info.schema()).map(|(_, field)| field))
            .collect::<Result<Vec<_>>>()?;
        let field = self.field(&fields)?;
        let value = arguments.swap_remove(0);
        let is_so = fields[0].data_type() == field.data_type() && fields[0].metadata() == field.metadata();
        Ok(ExprSimplifyResult::Simplified(match is_so {
            true => value,
            false => {
                let field = field.as_ref().clone().with_nullable(value.nullable(info.schema())?);
                Expr::Cast(Cast::new_from_field(Box::new(value), Arc::new(field)))
            }
        }))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        arguments.args.swap_remove(0).cast_to(arguments.return_field.data_type(), None)
    }
}
