//! Comparisons of rows, `(a, b) = (c, d)`, in terms of their parts.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::make::take;

/// The comparison by parts; none for what compares no rows.
pub(super) fn rewrite(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::BinaryOp { left, op, right } => {
            if *op == BinaryOperator::Overlaps {
                return None;
            }
            let (Expr::Tuple(left), Expr::Tuple(right)) = (&mut **left, &mut **right) else { return None };
            compared(std::mem::take(left), op, std::mem::take(right))
        }
        Expr::IsNull(inner) => all(parts(inner)?, Expr::IsNull),
        Expr::IsNotNull(inner) => all(parts(inner)?, Expr::IsNotNull),
        Expr::InList { expr, list, negated } => {
            let row = parts(expr)?;
            if !list.iter().all(|item| matches!(item, Expr::Tuple(parts) if parts.len() == row.len())) {
                **expr = Expr::Tuple(row);
                return None;
            }
            let items = list.iter_mut().map(|item| match take(item) {
                Expr::Tuple(parts) => equal(row.clone(), parts),
                other => Some(other),
            });
            let any = items
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .reduce(|left, right| join(left, BinaryOperator::Or, right))?;
            Some(if *negated { not(any) } else { Expr::Nested(Box::new(any)) })
        }
        _ => None,
    }
}

fn parts(expression: &mut Expr) -> Option<Vec<Expr>> {
    match expression {
        Expr::Tuple(parts) => Some(std::mem::take(parts)),
        _ => None,
    }
}

fn all(parts: Vec<Expr>, test: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let tests = parts.into_iter().map(|part| test(Box::new(part)));
    tests.reduce(|left, right| join(left, BinaryOperator::And, right)).map(|tests| Expr::Nested(Box::new(tests)))
}

fn join(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn not(expression: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expression))) }
}

fn equal(left: Vec<Expr>, right: Vec<Expr>) -> Option<Expr> {
    let pairs = left.into_iter().zip(right).map(|(left, right)| join(left, BinaryOperator::Eq, right));
    pairs.reduce(|left, right| join(left, BinaryOperator::And, right)).map(|pairs| Expr::Nested(Box::new(pairs)))
}

/// Rows of one length; the first parts that differ decide about `<`.
fn compared(left: Vec<Expr>, op: &BinaryOperator, right: Vec<Expr>) -> Option<Expr> {
    if left.len() != right.len() {
        return None;
    }
    let strict = match op {
        BinaryOperator::Eq => return equal(left, right),
        BinaryOperator::NotEq => return equal(left, right).map(not),
        BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
        BinaryOperator::Gt | BinaryOperator::GtEq => BinaryOperator::Gt,
        _ => return None,
    };
    let mut pairs = left.into_iter().zip(right).rev();
    let (left, right) = pairs.next()?;
    let mut made = join(left, op.clone(), right);
    for (left, right) in pairs {
        let same = join(left.clone(), BinaryOperator::Eq, right.clone());
        let rest = join(same, BinaryOperator::And, Expr::Nested(Box::new(made)));
        made = join(join(left, strict.clone(), right), BinaryOperator::Or, Expr::Nested(Box::new(rest)));
    }
    Some(Expr::Nested(Box::new(made)))
}
