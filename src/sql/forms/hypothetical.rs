//! `rank(5) WITHIN GROUP (ORDER BY x)`: where a value would stand among those of a group, by counting them.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByExpr,
};

use super::make::{cast, function, object};

/// The call in counts; none for orders of another kind, which the engine refuses.
pub(super) fn rewrite(call: &Function, name: &str) -> Option<Expr> {
    let [order] = call.within_group.as_slice() else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_slice() else { return None };
    if order.options.nulls_first.is_some() {
        return None;
    }
    let among = Among { call, order, value };
    let name = format!("pilaster_hypothetical_{name}");
    Some(match name.as_str() {
        "pilaster_hypothetical_dense_rank" => function(&name, vec![among.kinds_before()]),
        "pilaster_hypothetical_cume_dist" => {
            function(&name, vec![among.counted(Some(among.sorts(true))), among.counted(None)])
        }
        "pilaster_hypothetical_percent_rank" => {
            function(&name, vec![among.counted(Some(among.sorts(false))), among.counted(None)])
        }
        _ => function(&name, vec![among.counted(Some(among.sorts(false)))]),
    })
}

struct Among<'a> {
    call: &'a Function,
    order: &'a OrderByExpr,
    value: &'a Expr,
}

impl Among<'_> {
    fn descends(&self) -> bool {
        self.order.options.asc == Some(false)
    }

    /// Whether a row sorts before the value, or with it. NULL is the greatest.
    fn sorts(&self, or_with: bool) -> Expr {
        let op = match (self.descends(), or_with) {
            (false, false) => BinaryOperator::Lt,
            (false, true) => BinaryOperator::LtEq,
            (true, false) => BinaryOperator::Gt,
            (true, true) => BinaryOperator::GtEq,
        };
        let row = &self.order.expr;
        let by_value = joined(row.clone(), op, self.value.clone());
        let (greatest, other) = if self.descends() { (row, self.value) } else { (self.value, row) };
        let by_null = match or_with {
            true => is_null(greatest, true),
            false => joined(is_null(greatest, true), BinaryOperator::And, is_null(other, false)),
        };
        joined(by_value, BinaryOperator::Or, by_null)
    }

    fn counted(&self, condition: Option<Expr>) -> Expr {
        self.aggregate("count", FunctionArgExpr::Wildcard, None, condition)
    }

    /// How many different values sort before, of which NULL is one.
    fn kinds_before(&self) -> Expr {
        let row = self.order.expr.clone();
        let distinct = Some(DuplicateTreatment::Distinct);
        let values = self.aggregate("count", FunctionArgExpr::Expr(row.clone()), distinct, Some(self.sorts(false)));
        if !self.descends() {
            return values;
        }
        let is_before = joined(is_null(&row, true), BinaryOperator::And, is_null(self.value, false));
        let is_any = self.aggregate("bool_or", FunctionArgExpr::Expr(is_before), None, None);
        let none = Expr::Value(datafusion::sql::sqlparser::ast::Value::Boolean(false).into());
        let one = cast(function("coalesce", vec![is_any, none]), datafusion::sql::sqlparser::ast::DataType::Int4(None));
        joined(values, BinaryOperator::Plus, one)
    }

    fn aggregate(
        &self,
        name: &str,
        argument: FunctionArgExpr,
        treatment: Option<DuplicateTreatment>,
        condition: Option<Expr>,
    ) -> Expr {
        let mut made = self.call.clone();
        made.name = object(name);
        made.within_group.clear();
        if let FunctionArguments::List(list) = &mut made.args {
            list.args = vec![FunctionArg::Unnamed(argument)];
            list.duplicate_treatment = treatment;
        }
        if let Some(condition) = condition {
            made.filter = Some(Box::new(match made.filter.take() {
                Some(filter) => joined(*filter, BinaryOperator::And, condition),
                None => condition,
            }));
        }
        Expr::Function(made)
    }
}

fn is_null(value: &Expr, yes: bool) -> Expr {
    let value = Box::new(Expr::Nested(Box::new(value.clone())));
    if yes { Expr::IsNull(value) } else { Expr::IsNotNull(value) }
}

fn joined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(left))), op, right: Box::new(right) }))
}
