//! What binds to what, where the parser has it otherwise than Postgres. A tree without parentheses in it that Postgres would not have made
//! is turned until it is Postgres's.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::make::take;

/// To be called before what is inside the expression has been visited.
pub(super) fn settle(expression: &mut Expr) {
    prefixes(expression);
    distinct(expression);
    powers(expression);
}

/// `|/ 16 + 9` is the root of the sum: such operators bind less than those of arithmetic, and take whatever of it follows.
fn prefixes(expression: &mut Expr) {
    let Expr::BinaryOp { left, op, right } = expression else { return };
    if !is_arithmetic(op) {
        return;
    }
    prefixes(left);
    let Some(Expr::UnaryOp { expr: operand, .. }) = last_loose(left) else { return };
    let first = Box::new(take(operand));
    **operand = Expr::BinaryOp { left: first, op: op.clone(), right: Box::new(take(right)) };
    *expression = take(left);
}

/// The last operator of its kind that nothing stands behind but its operand.
fn last_loose(expression: &mut Expr) -> Option<&mut Expr> {
    let (mut steps, mut found, mut at) = (0, None, &*expression);
    loop {
        at = match at {
            Expr::BinaryOp { right, .. } => right,
            Expr::UnaryOp { op, expr } => {
                if is_loose(*op) {
                    found = Some(steps);
                }
                expr
            }
            _ => break,
        };
        steps += 1;
    }
    (0..found?).try_fold(expression, |at, _| last_side(at))
}

const fn is_loose(op: UnaryOperator) -> bool {
    matches!(
        op,
        UnaryOperator::BitwiseNot | UnaryOperator::PGAbs | UnaryOperator::PGSquareRoot | UnaryOperator::PGCubeRoot
    )
}

/// `a AND b IS DISTINCT FROM c OR d`: the parser takes all that follows for the right side of `IS DISTINCT FROM`.
fn distinct(expression: &mut Expr) {
    match expression {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if is_chain(right) => {
            let rest = take(right);
            turn(expression, rest, is_chain, last_side);
            distinct(expression);
        }
        Expr::BinaryOp { op: BinaryOperator::And, right: side, .. }
        | Expr::UnaryOp { op: UnaryOperator::Not, expr: side }
            if ends_in_distinct(side) =>
        {
            distinct(side);
            if is_chain(side) {
                let rest = take(side);
                turn(expression, rest, is_chain, last_side);
                distinct(expression);
            }
        }
        _ => {}
    }
}

/// `a ^ -b ^ c` is `(a ^ -b) ^ c`: the parser takes the power that follows for what the sign is of.
fn powers(expression: &mut Expr) {
    let Expr::BinaryOp { op: BinaryOperator::PGExp, right, .. } = expression else { return };
    let Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } = &mut **right else { return };
    if is_power(expr) {
        let rest = take(expr);
        turn(expression, rest, is_power, |expression| match last_side(expression) {
            Some(Expr::UnaryOp { expr, .. }) => Some(expr),
            side => side,
        });
        powers(expression);
    }
}

/// Puts the expression where the first operand of `rest` is, and that where `rest` was taken from.
fn turn(
    expression: &mut Expr,
    mut rest: Expr,
    is_of: fn(&Expr) -> bool,
    from: impl Fn(&mut Expr) -> Option<&mut Expr>,
) {
    let mut first = &mut rest;
    while is_of(first) {
        let Expr::BinaryOp { left, .. } = first else { break };
        first = left;
    }
    if let Some(from) = from(expression) {
        std::mem::swap(first, from);
    }
    std::mem::swap(first, expression);
    *expression = rest;
}

fn last_side(expression: &mut Expr) -> Option<&mut Expr> {
    match expression {
        Expr::IsDistinctFrom(_, side)
        | Expr::IsNotDistinctFrom(_, side)
        | Expr::BinaryOp { right: side, .. }
        | Expr::UnaryOp { expr: side, .. } => Some(side),
        _ => None,
    }
}

fn ends_in_distinct(expression: &Expr) -> bool {
    match expression {
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => true,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => ends_in_distinct(expr),
        _ => false,
    }
}

fn is_chain(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

fn is_power(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::PGExp, .. })
}

const fn is_arithmetic(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::PGExp
    )
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::{
        ast::{VisitMut, VisitorMut},
        dialect::PostgreSqlDialect,
        parser::Parser,
    };

    use super::*;

    /// Settles every expression, and shows it with all its parentheses.
    struct Settle;

    impl VisitorMut for Settle {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            settle(expression);
            ControlFlow::Continue(())
        }
    }

    fn shown(expression: &Expr) -> String {
        match expression {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", shown(left), shown(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", shown(expr)),
            Expr::IsDistinctFrom(left, right) => format!("({} DISTINCT {})", shown(left), shown(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("({} SAME {})", shown(left), shown(right)),
            Expr::Nested(inner) => shown(inner),
            other => other.to_string(),
        }
    }

    #[test]
    fn operators_bind_as_in_postgres() {
        let check = |text: &str, expect: &str| {
            let mut expression = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
            assert_eq!(expression.visit(&mut Settle), ControlFlow::Continue(()));
            assert_eq!(shown(&expression), expect, "{text}");
        };
        check("a AND b IS DISTINCT FROM c OR d", "((a AND (b DISTINCT c)) OR d)");
        check("a OR b IS DISTINCT FROM c AND d", "(a OR ((b DISTINCT c) AND d))");
        check("NOT b IS NOT DISTINCT FROM c OR d AND e", "((NOT (b SAME c)) OR (d AND e))");
        check("a AND NOT b IS DISTINCT FROM c AND d OR e", "(((a AND (NOT (b DISTINCT c))) AND d) OR e)");
        check("a OR b AND c IS DISTINCT FROM d OR e", "(a OR ((b AND (c DISTINCT d)) OR e))");
        check("a IS DISTINCT FROM (b OR c) AND d", "((a DISTINCT (b OR c)) AND d)");
        check("a IS DISTINCT FROM b AND c IS DISTINCT FROM d OR e", "(((a DISTINCT b) AND (c DISTINCT d)) OR e)");
        check("@ a - b + c", "(@ ((a - b) + c))");
        check("x % @ a - b * c", "(x % (@ (a - (b * c))))");
        check("|/ a * b + |/ c - d = e", "((|/ ((a * b) + (|/ (c - d)))) = e)");
        check("(@ a) - b", "((@ a) - b)");
        check("x * - |/ a - b", "(x * (- (|/ (a - b))))");
        check("@ - a - b", "(@ ((- a) - b))");
        check("x - + a ^ |/ b - c", "(x - (+ (a ^ (|/ (b - c)))))");
        check("a ^ -b ^ c", "((a ^ (- b)) ^ c)");
        check("a ^ -b ^ -c ^ d * e", "((((a ^ (- b)) ^ (- c)) ^ d) * e)");
    }
}
