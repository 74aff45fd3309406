//! The expressions of a query that are its own: those of the queries inside have names and rows of theirs.

use std::{convert::Infallible, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{Expr, Query, Visit, VisitMut, Visitor, VisitorMut};

/// Calls `look` with each expression of its own, from the outside in, until it breaks.
pub(super) fn look<B>(at: &impl Visit, look: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    Visit::visit(at, &mut Looking { look, depth: 0 })
}

/// Whether there is one like that.
pub(super) fn any(at: &impl Visit, is_it: impl Fn(&Expr) -> bool) -> bool {
    look(at, |expression| if is_it(expression) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }).is_break()
}

/// Calls `change` with each expression of its own, from the inside out, until it breaks.
pub(super) fn try_change<B>(of: &mut impl VisitMut, change: impl FnMut(&mut Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    VisitMut::visit(of, &mut Changing { change, depth: 0 })
}

/// The same, to the end.
pub(super) fn change(of: &mut impl VisitMut, mut change: impl FnMut(&mut Expr)) {
    let ControlFlow::Continue(()) = try_change(of, |expression| {
        change(expression);
        ControlFlow::<Infallible>::Continue(())
    });
}

struct Looking<F> {
    look: F,
    depth: usize,
}

impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Looking<F> {
    type Break = B;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<B> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<B> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<B> {
        if self.depth == 0 { (self.look)(expression) } else { ControlFlow::Continue(()) }
    }
}

struct Changing<F> {
    change: F,
    depth: usize,
}

impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for Changing<F> {
    type Break = B;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<B> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<B> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<B> {
        if self.depth == 0 { (self.change)(expression) } else { ControlFlow::Continue(()) }
    }
}
