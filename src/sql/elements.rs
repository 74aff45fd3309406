//! What the elements of arrays are called: the engine's `make_array`, `array_agg` and `unnest` keep their Arrow type, and lose the name
//! of the Postgres type.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Column, Result, ScalarValue, tree_node::Transformed},
    functions_nested::make_array::make_array_udf,
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
        ScalarUDF, ScalarUDFImpl, Signature,
    },
};

use super::{CHAR_LENGTH_KEY, PG_TYPE_KEY, branches::beside_literals};

/// The function that makes an array, by the engine's name.
pub(super) const ARRAY: &str = "make_array";

/// `ARRAY[…]` of values of one type.
pub(super) fn array() -> ScalarUDF {
    ScalarUDF::from(Elements { inner: make_array_udf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Elements {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Elements {
    fn name(&self) -> &'static str {
        ARRAY
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        beside_literals(types, |known| self.inner.coerce_types(known))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let DataType::List(item) = self.return_type(&types)? else {
            return Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)));
        };
        let named = arguments.arg_fields.iter().find(|field| !field.data_type().is_null());
        let item = named.map_or_else(|| Arc::clone(&item), |field| said(&item, field));
        Ok(Arc::new(Field::new(self.name(), DataType::List(item), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let to = arguments.return_field.data_type().clone();
        let inner = ScalarFunctionArgs {
            return_field: Arc::new(Field::new(
                self.name(),
                self.return_type(
                    &arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect::<Vec<_>>(),
                )?,
                true,
            )),
            ..arguments
        };
        match self.inner.invoke_with_args(inner)? {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(renamed(&array, &to)?)),
            ColumnarValue::Scalar(scalar) => {
                let array = renamed(&scalar.to_array()?, &to)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }
}

/// `item` with the name that `field`'s type has.
pub(super) fn said(item: &FieldRef, field: &Field) -> FieldRef {
    let mut metadata = item.metadata().clone();
    for key in [PG_TYPE_KEY, CHAR_LENGTH_KEY] {
        if let Some(value) = field.metadata().get(key) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    Arc::new(item.as_ref().clone().with_metadata(metadata))
}

fn renamed(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let (Some(lists), DataType::List(item)) = (array.as_list_opt::<i32>(), to) else { return Ok(Arc::clone(array)) };
    let values = Arc::clone(lists.values());
    let made = ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, lists.nulls().cloned())?;
    Ok(Arc::new(made))
}

/// Arrays that were collected have the names of their elements' types.
pub(super) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

fn node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let (collected, input, before) = match &node {
        LogicalPlan::Aggregate(aggregate) => {
            let before = node.schema().fields().len() - aggregate.aggr_expr.len();
            (&aggregate.aggr_expr, &aggregate.input, before)
        }
        LogicalPlan::Window(window) => (&window.window_expr, &window.input, window.input.schema().fields().len()),
        _ => return Ok(Transformed::no(node)),
    };
    let mut is_changed = false;
    let mut columns = Vec::new();
    for (place, (relation, field)) in node.schema().iter().enumerate() {
        let column = Expr::Column(Column::new(relation.cloned(), field.name()));
        let value = place.checked_sub(before).and_then(|place| collected.get(place)).and_then(collected_value);
        let DataType::List(item) = field.data_type() else {
            columns.push(column);
            continue;
        };
        let Some(value) = value else {
            columns.push(column);
            continue;
        };
        let named = said(item, value.to_field(input.schema())?.1.as_ref());
        if named == *item {
            columns.push(column);
            continue;
        }
        is_changed = true;
        let to = Arc::new(Field::new("", DataType::List(named), true));
        columns.push(
            Expr::Cast(Cast::new_from_field(Box::new(column), to)).alias_qualified(relation.cloned(), field.name()),
        );
    }
    if !is_changed {
        return Ok(Transformed::no(node));
    }
    Ok(Transformed::yes(LogicalPlanBuilder::from(node).project(columns)?.build()?))
}

/// What `array_agg` collects.
fn collected_value(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Alias(alias) => collected_value(&alias.expr),
        Expr::AggregateFunction(call) if call.func.name() == "array_agg" => call.params.args.first(),
        Expr::WindowFunction(call) if call.fun.name() == "array_agg" => call.params.args.first(),
        _ => None,
    }
}
