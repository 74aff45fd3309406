//! The elements of `ARRAY[…]`.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, Result},
    logical_expr::{Expr, ExprSchemable, expr::ScalarFunction},
};

use super::{Strict, is_untyped, refused};
use crate::sql::{
    PG_TYPE_KEY,
    function::{Kind, common_of},
};

impl Strict<'_> {
    /// The elements of `ARRAY[…]` in one type.
    pub(in crate::sql) fn elements(&self, elements: &mut [Expr], schema: &DFSchema) -> Result<bool> {
        let mut common = Kind::Unknown;
        let mut name = None;
        for element in elements.iter() {
            let (_, field) = element.to_field(schema)?;
            let kind = Kind::of_field(&field);
            if matches!(kind, Kind::Other | Kind::Array(_)) {
                return Ok(false);
            }
            common = common_of(common, kind).ok_or_else(|| {
                let (common, kind) = (common.long_name(), kind.long_name());
                refused("42804", format!("ARRAY types {common} and {kind} cannot be matched"))
            })?;
            if common == kind && name.is_none() {
                name = field.metadata().get(PG_TYPE_KEY).cloned();
            }
        }
        if matches!(common, Kind::Unknown | Kind::Text) {
            return Ok(false);
        }
        let name = name.filter(|_| common == Kind::Enum).unwrap_or_else(|| common.name());
        let Some(cast) = self.functions.get(&format!("::{name}")) else { return Ok(false) };
        let is_wider = matches!(common, Kind::Float4 | Kind::Float8 | Kind::Timestamp | Kind::Timestamptz);
        let mut changed = false;
        for element in elements {
            let kind = Kind::of_field(&element.to_field(schema)?.1);
            if is_untyped(element, schema)? || is_wider && kind != common && kind != Kind::Unknown {
                let literal = std::mem::take(element);
                *element = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![literal]));
                changed = true;
            }
        }
        Ok(changed)
    }
}
