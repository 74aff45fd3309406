//! Smaller statements of one that shows something. Not all of them are valid: Postgres says which are.

use super::{Body, Distinct, Expression, Kind, On, Piece, Query, Select, Source, sql};

/// Candidates, the boldest first, each shorter than the statement.
pub(crate) fn shrink(query: &Query) -> Vec<Query> {
    let length = sql(query).len();
    let mut candidates = queries(query);
    candidates.retain(|candidate| sql(candidate).len() < length);
    candidates.sort_by_key(|candidate| sql(candidate).len());
    candidates.dedup_by_key(|candidate| sql(candidate));
    candidates
}

fn queries(query: &Query) -> Vec<Query> {
    let mut found = Vec::new();
    for index in 0..query.with.len() {
        let mut without = query.clone();
        without.with.remove(index);
        found.push(without);
        let (name, inner) = &query.with[index];
        found.push(inner.clone());
        for smaller in queries(inner) {
            let mut with = query.clone();
            with.with[index] = (name.clone(), smaller);
            found.push(with);
        }
    }
    if query.limit.is_some() {
        found.push(Query { limit: None, ..query.clone() });
    }
    if !query.order.is_empty()
        && !matches!(&query.body, Body::Select(select) if matches!(select.distinct, Distinct::On(_)))
    {
        found.push(Query { order: Vec::new(), limit: None, ..query.clone() });
    }
    found.extend(query.order.iter().enumerate().filter(|(_, order)| !order.how.is_empty()).map(|(index, _)| {
        let mut plain = query.clone();
        plain.order[index].how = "";
        plain
    }));
    for body in bodies(&query.body) {
        let mut smaller = Query { body, ..query.clone() };
        let count = smaller.body.columns().len();
        smaller.order.retain(|order| order.place < count);
        found.push(smaller);
    }
    if let Body::Select(select) = &query.body {
        let inner = select.from.iter().flat_map(derived);
        found.extend(
            inner.map(|inner| Query { with: [query.with.clone(), inner.with.clone()].concat(), ..inner.clone() }),
        );
    }
    let columns = query.body.columns().len();
    for place in (0..columns).filter(|_| columns > 1) {
        if let Some(body) = without_column(&query.body, place) {
            let mut smaller = Query { body, ..query.clone() };
            smaller.order.retain(|order| order.place != place);
            smaller.order.iter_mut().filter(|order| order.place > place).for_each(|order| order.place -= 1);
            found.push(smaller);
        }
    }
    found
}

fn without_column(body: &Body, place: usize) -> Option<Body> {
    match body {
        Body::Select(select) => {
            let mut select = select.clone();
            select.items.remove(place);
            match &mut select.distinct {
                Distinct::On(count) if *count > place && *count == 1 => select.distinct = Distinct::No,
                Distinct::On(count) if *count > place => *count -= 1,
                _ => {}
            }
            if let Some(group) = &mut select.group
                && group.shape == "positions"
            {
                group.shape = "";
            }
            Some(Body::Select(select))
        }
        Body::Set(operation, left, right) => {
            let (left, right) = (without_column(left, place)?, without_column(right, place)?);
            Some(Body::Set(operation, Box::new(left), Box::new(right)))
        }
        Body::Values(rows) => {
            let mut rows = rows.clone();
            for row in &mut rows {
                row.remove(place);
            }
            Some(Body::Values(rows))
        }
    }
}

fn bodies(body: &Body) -> Vec<Body> {
    match body {
        Body::Select(select) => selects(select).into_iter().map(|select| Body::Select(Box::new(select))).collect(),
        Body::Set(operation, left, right) => {
            let mut found = vec![left.as_ref().clone(), right.as_ref().clone()];
            let set = |left: Body, right: Body| Body::Set(operation, Box::new(left), Box::new(right));
            found.extend(bodies(left).into_iter().map(|left| set(left, right.as_ref().clone())));
            found.extend(bodies(right).into_iter().map(|right| set(left.as_ref().clone(), right)));
            found
        }
        Body::Values(rows) => {
            let mut found = Vec::new();
            if rows.len() > 1 {
                found.extend((0..rows.len()).map(|index| {
                    let mut rows = rows.clone();
                    rows.remove(index);
                    Body::Values(rows)
                }));
            }
            found
        }
    }
}

fn selects(select: &Select) -> Vec<Select> {
    let mut found = Vec::new();
    let change = |change: &dyn Fn(&mut Select)| {
        let mut changed = select.clone();
        change(&mut changed);
        changed
    };
    if select.filter.is_some() {
        found.push(change(&|select| select.filter = None));
    }
    if select.having.is_some() {
        found.push(change(&|select| select.having = None));
    }
    if select.distinct != Distinct::No {
        found.push(change(&|select| select.distinct = Distinct::No));
    }
    if let Some(group) = &select.group {
        if !group.shape.is_empty() {
            found.push(change(&|select| select.group.iter_mut().for_each(|group| group.shape = "")));
        }
        for index in 0..group.keys.len() {
            found.push(change(&|select| {
                if let Some(group) = &mut select.group {
                    group.shape = if group.shape == "positions" { "" } else { group.shape };
                    group.keys.remove(index);
                }
            }));
        }
    }
    for from in select.from.iter().flat_map(sources) {
        found.push(change(&|select| select.from = Some(from.clone())));
    }
    for smaller in select.filter.iter().flat_map(expressions) {
        found.push(change(&|select| select.filter = Some(smaller.clone())));
    }
    for smaller in select.having.iter().flat_map(expressions) {
        found.push(change(&|select| select.having = Some(smaller.clone())));
    }
    for (index, item) in select.items.iter().enumerate() {
        for smaller in expressions(item) {
            found.push(change(&|select| select.items[index] = smaller.clone()));
        }
    }
    found
}

/// The queries that are read from.
fn derived(source: &Source) -> Vec<&Query> {
    match source {
        Source::Named(_) => Vec::new(),
        Source::Derived { query, .. } => vec![query],
        Source::Join { left, right, .. } => [derived(left), derived(right)].concat(),
    }
}

fn sources(source: &Source) -> Vec<Source> {
    match source {
        Source::Named(_) => Vec::new(),
        Source::Derived { query, alias, is_lateral } => queries(query)
            .into_iter()
            .map(|query| Source::Derived { query: Box::new(query), alias: alias.clone(), is_lateral: *is_lateral })
            .collect(),
        Source::Join { join, left, right, on } => {
            let mut found = vec![left.as_ref().clone(), right.as_ref().clone()];
            let joined = |left: &Source, right: &Source, on: &On| Source::Join {
                join,
                left: Box::new(left.clone()),
                right: Box::new(right.clone()),
                on: on.clone(),
            };
            found.extend(sources(left).iter().map(|left| joined(left, right, on)));
            found.extend(sources(right).iter().map(|right| joined(left, right, on)));
            if let On::Condition(condition) = on {
                let smaller = expressions(condition).into_iter().map(On::Condition);
                found.extend(smaller.map(|on| joined(left, right, &on)));
            }
            found
        }
    }
}

/// Of the same type: what it is made of, a simple value, or the same with a smaller part.
fn expressions(expression: &Expression) -> Vec<Expression> {
    let mut found: Vec<Expression> =
        expression.children().filter(|child| child.kind == expression.kind).cloned().collect();
    if expression.pieces.len() > 1 {
        found.push(simple(expression.kind));
        found.push(Expression::null(expression.kind));
    }
    for (index, piece) in expression.pieces.iter().enumerate() {
        let smaller: Vec<Piece> = match piece {
            Piece::Child(child) => expressions(child).into_iter().map(Piece::Child).collect(),
            Piece::Query(query) => queries(query).into_iter().map(|query| Piece::Query(Box::new(query))).collect(),
            _ => Vec::new(),
        };
        for piece in smaller {
            let mut changed = expression.clone();
            changed.pieces[index] = piece;
            found.push(changed);
        }
    }
    found
}

fn simple(kind: Kind) -> Expression {
    let text = match kind {
        Kind::Bool => "true",
        Kind::Int2 => "1::int2",
        Kind::Int4 => "1",
        Kind::Int8 => "1::int8",
        Kind::Numeric => "1.5",
        Kind::Float8 => "1.5::float8",
        Kind::Text => "'a'",
        Kind::Varchar => "'a'::varchar",
        Kind::Date => "DATE '2024-01-01'",
        Kind::Timestamp => "TIMESTAMP '2024-01-01 00:00:00'",
        Kind::Timestamptz => "TIMESTAMPTZ '2024-01-01 00:00:00+00'",
        Kind::Interval => "INTERVAL '1 day'",
    };
    Expression::leaf(kind, text)
}
