//! Named windows, written out where they are used: the engine forgets what a window takes over from another.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Select, WindowSpec, WindowType,
};

use super::own;
use crate::{
    error::{Code, Error, Result},
    sql::labels::folded,
};

/// Writes the windows of `select` out.
pub(super) fn settle(select: &mut Select) -> Result<()> {
    let mut known: Vec<(String, WindowSpec)> = Vec::new();
    for NamedWindowDefinition(name, definition) in std::mem::take(&mut select.named_window) {
        let spec = match definition {
            NamedWindowExpr::NamedWindow(of) => find(&known, &of)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => written_out(spec, &known)?,
        };
        known.push((folded(&name), spec));
    }
    let visit = |expression: &mut Expr| match own::try_change(expression, |inner| write_out(inner, &known)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    };
    for item in &mut select.projection {
        use datafusion::sql::sqlparser::ast::SelectItem::{ExprWithAlias, UnnamedExpr};
        if let UnnamedExpr(expression) | ExprWithAlias { expr: expression, .. } = item {
            visit(expression)?;
        }
    }
    Ok(())
}

fn write_out(expression: &mut Expr, known: &[(String, WindowSpec)]) -> ControlFlow<Box<Error>> {
    let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
    let made = match function.over.take() {
        Some(WindowType::NamedWindow(name)) => find(known, &name).cloned().map(Some),
        Some(WindowType::WindowSpec(spec)) => written_out(spec, known).map(Some),
        None => Ok(None),
    };
    match made {
        Ok(spec) => {
            function.over = spec.map(WindowType::WindowSpec);
            ControlFlow::Continue(())
        }
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

fn find<'a>(known: &'a [(String, WindowSpec)], name: &Ident) -> Result<&'a WindowSpec> {
    let wanted = folded(name);
    let found = known.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, spec)| spec).ok_or_else(|| {
        Error::new(Code::InvalidSql, format!("window \"{wanted}\" does not exist")).with_sqlstate("42704")
    })
}

/// A window that is based on another has its partitions, and its order if it has none of its own.
fn written_out(mut spec: WindowSpec, known: &[(String, WindowSpec)]) -> Result<WindowSpec> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let base = find(known, &name)?;
    let refused = |what: &str| {
        Err(Error::new(Code::InvalidSql, format!("cannot {what} of window \"{}\"", folded(&name)))
            .with_sqlstate("42P20"))
    };
    if !spec.partition_by.is_empty() {
        return refused("override PARTITION BY clause");
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return refused("override ORDER BY clause");
    }
    if base.window_frame.is_some() {
        return refused("copy the frame clause");
    }
    spec.partition_by = base.partition_by.clone();
    if spec.order_by.is_empty() {
        spec.order_by = base.order_by.clone();
    }
    Ok(spec)
}
